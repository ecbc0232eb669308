// node inflate.mjs PACKED TARGET: unpack a file that is compressed with Brotli.
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const [, , packed, target] = process.argv;
await pipeline(createReadStream(packed), createBrotliDecompress(), createWriteStream(target));
