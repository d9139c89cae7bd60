#!/usr/bin/env node
/**
 * Makes JavaScript modules of the component, for `src/plugin/plugin.js` to load: `node scripts/build-plugin.js COMPONENT [FOLDER]`.
 *
 * Done once, when the package is built: what runs at the agent is the outcome, and needs no compiler. The component is refused where
 * it imports anything that this host does not lend.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { transpileBytes } from '@bytecodealliance/jco-transpile';

import { CONTRACT_VERSION, checkNames } from '../src/contract.js';
import { MANIFEST, digest } from '../src/plugin/manifest.js';
import { withMemoryLimit } from './memory-limit.js';

/** The most memory of the plugin: the largest body that the default policy parks, and 16 MiB beside it. */
const MEMORY = 80 * 2 ** 20;

/** Synchronous: no imports that suspend, which Node 20 does not have. */
const OPTIONS = {
  name: 'procore-auth',
  instantiation: 'sync',
  asyncMode: 'sync',
  wasiShim: false,
  nodejsCompat: false,
  strict: true,
  emitTypescriptDeclarations: false,
};

const [source, target = fileURLToPath(new URL('../plugin', import.meta.url))] = process.argv.slice(2);
if (source === undefined) {
  console.error('usage: build-plugin COMPONENT [FOLDER]');
  process.exit(2);
}
const component = await readFile(source);
const { files, imports, exports } = await transpileBytes(component, OPTIONS);
checkNames(imports, exports.map(([name]) => name));
const modules = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, limited(name, Buffer.from(bytes))]));
const manifest = manifestOf(component, modules);
await replaceFolder(target, { ...modules, [MANIFEST]: manifest });
console.error(`${target}: component ${digest(component)}, pin { sha256: '${digest(manifest)}' }`);

/** Says of which component, and of what bytes, the plugin is: a digest of the manifest pins all of it. */
function manifestOf(component, modules) {
  const digests = Object.entries(modules).map(([name, bytes]) => [name, digest(bytes)]);
  const manifest = { contract: CONTRACT_VERSION, component: digest(component), files: Object.fromEntries(digests.sort()) };
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

function limited(name, bytes) {
  return name.endsWith('.wasm') ? withMemoryLimit(bytes, MEMORY) : bytes;
}

/** Whoever loads the plugin sees the old folder or the new one, or for a moment none. */
async function replaceFolder(folder, contents) {
  const fresh = `${folder}.${process.pid}.new`;
  const old = `${folder}.${process.pid}.old`;
  for (const [name, bytes] of Object.entries(contents)) {
    const file = path.join(fresh, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, bytes);
  }
  await rename(folder, old).catch((error) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await rename(fresh, folder);
  await rm(old, { recursive: true, force: true });
}
