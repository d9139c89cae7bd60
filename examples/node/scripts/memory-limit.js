/** Bounds the memory of a core module, which nothing outside could do once it runs. */

const PAGE = 65_536;

/** The section that declares memories. */
const MEMORY = 5;

/**
 * Returns the module with `bytes` as the most that its memory can grow to. A module without a memory of its own stays as it is.
 * @param {Uint8Array} module
 * @param {number} bytes
 */
export function withMemoryLimit(module, bytes) {
  // Behind the magic number and the version.
  for (let at = 8; at < module.length; ) {
    const [size, start] = readInteger(module, at + 1);
    if (module[at] === MEMORY) {
      const section = limited(module.subarray(start, start + size), Math.floor(bytes / PAGE));
      return Buffer.concat([module.subarray(0, at + 1), integer(section.length), section, module.subarray(start + size)]);
    }
    at = start + size;
  }
  return module;
}

function limited(section, most) {
  const [count, flagsAt] = readInteger(section, 0);
  const flags = section[flagsAt];
  // 0: no most, 1: with one. Others are shared or 64 bits wide.
  if (count !== 1 || flags > 1) throw new Error('the plugin has memories of an unexpected kind');
  const [least, next] = readInteger(section, flagsAt + 1);
  const [declared] = flags === 1 ? readInteger(section, next) : [most];
  if (least > most) throw new Error('the plugin asks for more memory than it may have');
  return Buffer.concat([integer(1), Buffer.from([1]), integer(least), integer(Math.min(declared, most))]);
}

/** Reads an integer in LEB128; returns it with the position behind it. */
function readInteger(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7, at += 1) {
    value += (bytes[at] & 0x7f) * 2 ** shift;
    if (bytes[at] < 0x80) return [value, at + 1];
  }
}

function integer(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
  return Buffer.from([...bytes, value]);
}
