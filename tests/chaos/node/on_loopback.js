"use strict";
// Loaded before kinesis-local, which would listen on every interface of the machine, and on a port that must be known
// before. The one port that it is told to listen on (1) becomes any free one, which is written on stdout.
const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, listening) {
  if (port === 1) {
    this.once("listening", () => process.stdout.write(`http://127.0.0.1:${this.address().port}\n`));
  }
  return listen.call(this, port === 1 ? 0 : port, "127.0.0.1", listening);
};
