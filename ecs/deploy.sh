#!/usr/bin/env bash
# What `make push`, `make scan-image`, `make deploy` and `make destroy` do: the AWS CLI, with a plain word about what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

STACK=${STACK:-tickertape}
export AWS_PAGER=""

fail() {
    echo "make $action: $*" >&2
    exit 2
}

# Everything that is missing, in one line.
check() {
    local missing=()
    command -v aws >/dev/null || fail "the AWS CLI is missing: see https://aws.amazon.com/cli/"
    AWS_REGION=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
    export AWS_REGION AWS_DEFAULT_REGION=$AWS_REGION
    [ -n "$AWS_REGION" ] || missing+=("a region (export AWS_REGION=eu-central-1)")
    if [[ $action == deploy || $action == scan-image ]] && [ -z "${IMAGE:-}" ]; then
        missing+=("an image (make push prints its name: make deploy IMAGE=...)")
    fi
    if [ -n "$AWS_REGION" ]; then
        ACCOUNT=$(aws sts get-caller-identity --query Account --output text 2>/dev/null) ||
            missing+=("valid credentials (AWS_PROFILE, or aws sso login)")
    fi
    [ ${#missing[@]} -eq 0 ] || fail "missing: $(join "${missing[@]}")"
}

join() {
    local first=$1
    shift
    printf '%s' "$first" "${@/#/, }"
}

output() { # of the first stack
    aws cloudformation describe-stacks --stack-name "$STACK" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text
}

push() {
    local platform repository tag image
    case ${ARCH:=X86_64} in
        X86_64) platform=linux/amd64 ;;
        ARM64) platform=linux/arm64 ;;
        *) fail "ARCH is X86_64 or ARM64, not '$ARCH'" ;;
    esac
    command -v docker >/dev/null || fail "docker is missing: it builds the image"
    repository=${REPOSITORY:-tickertape}
    aws ecr describe-repositories --repository-names "$repository" >/dev/null 2>&1 ||
        aws ecr create-repository --repository-name "$repository" --image-tag-mutability IMMUTABLE \
            --image-scanning-configuration scanOnPush=true >/dev/null
    tag=$(git describe --always --dirty)
    [[ $tag != *-dirty ]] || tag+=-$(date -u +%Y%m%dT%H%M%S)
    tag+=-${ARCH,,}
    image=$(aws ecr describe-repositories --repository-names "$repository" \
        --query "repositories[0].repositoryUri" --output text):$tag
    if ! aws ecr describe-images --repository-name "$repository" --image-ids "imageTag=$tag" >/dev/null 2>&1; then
        aws ecr get-login-password | docker login --username AWS --password-stdin "${image%%/*}" >&2
        docker build --platform "$platform" --tag "$image" . >&2
        docker push "$image" >&2
    fi
    echo "IMAGE=$image"
}

# ECR looks for known weaknesses in what is pushed; critical ones are not to be deployed.
scan-image() {
    local name=${IMAGE#*/} critical
    aws ecr wait image-scan-complete --repository-name "${name%:*}" --image-id "imageTag=${name##*:}"
    critical=$(aws ecr describe-image-scan-findings --repository-name "${name%:*}" --image-id "imageTag=${name##*:}" \
        --query "imageScanFindings.findingSeverityCounts.CRITICAL || \`0\`" --output text)
    [ "$critical" = 0 ] || fail "$critical critical weaknesses are known in $IMAGE: see its scan in ECR"
}

deploy() {
    local stores services outputs
    read -ra stores <<<"${STORES:-}"
    read -ra services <<<"${SERVICES:-}"
    case $IMAGE in # push ends the tag with it
        *-x86_64) services+=(CpuArchitecture=X86_64) ;;
        *-arm64) services+=(CpuArchitecture=ARM64) ;;
    esac
    aws cloudformation deploy --stack-name "$STACK" --template-file infra/stack.yaml \
        --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset \
        ${stores[@]+--parameter-overrides "${stores[@]}"}
    # The services' template has a parameter of the same name for each of the first stack's outputs.
    read -ra outputs <<<"$(aws cloudformation describe-stacks --stack-name "$STACK" \
        --query "join(' ', Stacks[0].Outputs[].join('=', [OutputKey, OutputValue]))" --output text)"
    aws cloudformation deploy --stack-name "$STACK-services" --template-file ecs/services.yaml \
        --no-fail-on-empty-changeset \
        --parameter-overrides "${outputs[@]}" "Image=$IMAGE" ${services[@]+"${services[@]}"}
    aws cloudformation describe-stacks --stack-name "$STACK-services" \
        --query "Stacks[0].Outputs[?OutputKey=='Dashboard'].OutputValue" --output text
}

destroy() {
    local application bucket tables=()
    bucket=$(output ArchiveBucketName 2>/dev/null) || fail "there is no stack '$STACK' in $AWS_REGION of account $ACCOUNT"
    application=$(output ApplicationName)
    tables=("$(output TicksTableName)" "$(output AlertsTableName)" "$application" "$application-CoordinatorState")
    for stack in "$STACK-services" "$STACK"; do
        aws cloudformation delete-stack --stack-name "$stack"
        aws cloudformation wait stack-delete-complete --stack-name "$stack"
    done
    if [ "${EMPTY:-}" != yes ]; then
        echo "Kept: bucket $bucket, tables ${tables[*]} (EMPTY=yes deletes them)"
        return
    fi
    aws s3 rb --force "s3://$bucket"
    for table in "${tables[@]}"; do
        aws dynamodb delete-table --table-name "$table" >/dev/null 2>&1 || echo "There is no table $table"
    done
}

action=${1:-}
case $action in
    push | scan-image | deploy | destroy) ;;
    *) echo "usage: ecs/deploy.sh push|scan-image|deploy|destroy" >&2 && exit 2 ;;
esac
check
"$action"
