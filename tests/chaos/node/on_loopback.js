"use strict";
// Loaded before kinesis-local, which would listen on every interface of the machine.
const { Server } = require("node:net");

const listen = Server.prototype.listen;
Server.prototype.listen = function (port, listening) {
  return listen.call(this, port, "127.0.0.1", listening);
};
