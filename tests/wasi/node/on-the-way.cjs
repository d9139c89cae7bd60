// Loaded before everything else, in worker threads too: connections go to the fake, and the time is the test's.
const net = require('node:net');

const [host, port] = process.env.FAKE_ADDRESS.split(':');
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (typeof options === 'object' && options.port !== undefined) Object.assign(options, { host, port: Number(port) });
  return connect.apply(this, args);
};

const now = Date.now;
const ahead = Number(process.env.FAKE_NOW) - now();
Date.now = () => now() + ahead;
globalThis.Date = class extends Date {
  constructor(...args) {
    super(...(args.length === 0 ? [Date.now()] : args));
  }
};
