# The image of both tasks, `tickertape produce` and `tickertape consume`. The target `local` adds the embedded AWS and
# the live view: docker build --target local --tag tickertape:local .
# docs/containers.md has the rest.

# hadolint global ignore=DL3008
# (Debian keeps no old versions, so a pinned one cannot be installed any more after the next security fix.)

# By digest, as a tag can be moved: of all architectures. `docker buildx imagetools inspect debian:trixie-slim` tells the
# newest. --build-arg BASE=debian:trixie-slim takes whatever has that name, also where no registry is within reach.
ARG BASE=debian:trixie-slim@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f
FROM ${BASE} AS system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 tini \
    && rm -rf /usr/lib/*/gconv /usr/lib/python3*/pydoc_data /usr/lib/python3*/test /usr/share/info /usr/share/locale \
        /usr/share/man /var/cache/* /var/lib/apt/lists /var/log/* \
    && find /usr/share/doc -type f -not -name copyright -delete


FROM system AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        binutils openjdk-21-jdk-headless python3-hatchling python3-pip python3-setuptools python3-venv python3-wheel \
    && rm -rf /var/lib/apt/lists/*
# What the KCL's jars refer to: java.desktop is there for java.beans, without its libraries for screens, jdk.crypto.ec for TLS.
RUN jlink --output /opt/java --strip-debug --no-header-files --no-man-pages --compress zip-6 \
    --exclude-files 'regex:/java.desktop/lib/(lib[^/]*\.so|psfont.*)' \
    --add-modules \
    java.base,java.desktop,java.logging,java.management,java.naming,java.security.jgss,java.sql,java.xml,jdk.crypto.ec,jdk.unsupported \
    && strip --strip-unneeded /opt/java/lib/server/libjvm.so

# Without build isolation, and with Debian's build tools: all that is not locked by a hash is fixed by the release.
COPY requirements.lock /build/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python3 -m venv --without-pip /opt/tickertape \
    && pip wheel --no-cache-dir --no-build-isolation --require-hashes \
        --requirement /build/requirements.lock --wheel-dir /build/wheels \
    && pip --python /opt/tickertape install --no-cache-dir --no-compile --no-index --no-deps /build/wheels/*.whl


# Our own code goes in last: when only that has changed, the libraries are not installed again.
FROM build AS ours
COPY . /build/tickertape
# kclpy has fetched the jars from Maven Central without looking at them: each must be as our list says.
RUN PYTHONPATH=/build/tickertape /opt/tickertape/bin/python -m consumer.jars \
    && pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /build/dist /build/tickertape


# Less than two thirds of it: nothing needs the libraries' tests and sources in C, descriptions of four hundred other AWS
# services, translations and pictures of apprise, modules that nothing here imports, or the symbols of libraries. pandas
# and numpy, which only FEED=yahoo imports, are not compiled beforehand.
FROM build AS lean
WORKDIR /opt/tickertape/lib/python3.13/site-packages
RUN find . -type d -name tests -prune -exec rm -r {} + \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d \
        -not -name dynamodb -not -name kinesis -not -name 's3' -not -name sns -not -name sqs \
        -not -name 'sso*' -not -name sts \
        -exec rm -r {} + \
    && find . -type f -regex '.*\.\(a\|c\|h\|pxd\|pxi\|pyi\|pyx\)' -delete \
    && rm -r apprise/assets apprise/cli.py apprise/i18n confluent_kafka/schema_registry \
    && rm lxml/objectify*.so numpy/_core/_simd*.so yaml/_yaml*.so \
    && strip --strip-unneeded confluent_kafka/*.so confluent_kafka.libs/*.so* curl_cffi/*.so \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(numpy|pandas)/' .
RUN --mount=type=bind,from=ours,source=/build/dist,target=/build/dist \
    pip --python /opt/tickertape install --no-cache-dir --no-compile --no-index --no-deps /build/dist/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash common consumer desk infra producer tickertape.py


# What both images have: the system, Java, and a user who may write nowhere but to /tmp. Copied, because what is removed
# from a lower layer still takes its place in the image.
FROM scratch AS task
# hadolint ignore=DL3067
COPY --from=system / /
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin tickertape \
    && chmod 755 /home/tickertape
COPY --from=build /opt/java /opt/java
ENV HOME=/home/tickertape \
    JAVA_HOME=/opt/java \
    PATH=/opt/tickertape/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /home/tickertape
USER 10001:10001
# Fargate mounts its own volume there, which belongs to root unless the image declares it.
VOLUME ["/tmp"]
ARG BASE
LABEL org.opencontainers.image.title="tickertape" \
    org.opencontainers.image.description="A real-time stock analytics pipeline on Kinesis" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.base.name="$BASE"
# Other commands are healthy while they run.
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=3 \
    CMD ["sh", "-c", "! tr '\\0' ' ' </proc/1/cmdline | grep -qE ' (consume|produce|notify)' || exec tickertape health"]
# tini passes signals on, and reaps what a killed shard leaves behind. Java ends with 143 after an orderly stop: that is 0.
ENTRYPOINT ["tini", "-e", "143", "--", "tickertape"]
CMD ["--help"]


FROM build AS build-local
COPY requirements-local.lock /build/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    pip --python /opt/tickertape install --no-cache-dir --no-compile --require-hashes \
        --requirement /build/requirements-local.lock \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/tickertape/lib
WORKDIR /opt/tickertape/lib/python3.13/site-packages
RUN --mount=type=bind,from=ours,source=/build/dist,target=/build/dist \
    pip --python /opt/tickertape install --no-cache-dir --no-compile --no-index --no-deps /build/dist/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash common consumer desk infra producer tickertape.py


FROM task AS local
COPY --from=build-local /opt/tickertape /opt/tickertape
USER 0
RUN install --directory --owner tickertape --group tickertape /var/lib/tickertape
USER 10001:10001


FROM task AS production
COPY --from=lean /opt/tickertape /opt/tickertape
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
