import { fileURLToPath } from 'node:url';

import { checkVersion } from '../contract.js';
import { misconfigured } from '../error.js';
import { expect, expectKnown } from '../settings.js';
import { ENTRY, readFiles } from './manifest.js';

const BUNDLED = fileURLToPath(new URL('../../plugin', import.meta.url));

/**
 * The plugin, compiled. Loading takes some 100 ms: load once, and give it to every `Connection`.
 *
 * Its files are read once, and are those that its manifest names by their digests. Whoever can write all of the folder can run code in
 * this process, unless the manifest is pinned: it holds JavaScript that `scripts/build-plugin.js` made.
 */
export class Plugin {
  /**
   * @param {string} source the module that makes instances, as JavaScript without imports of files
   * @param {Map<string, WebAssembly.Module>} modules by their file's name
   * @param {{ component: string, sha256: string }} digests of the component that it was made from, and of the manifest
   */
  constructor(source, modules, { component, sha256 }) {
    this.source = source;
    this.modules = modules;
    this.component = component;
    this.sha256 = sha256;
  }

  /**
   * Loads what `scripts/build-plugin.js` made.
   * @param {object} [options]
   * @param {string} [options.folder] where it is; the package's own by default
   * @param {string} [options.sha256] the pin that `build-plugin` printed: the digest of the manifest, and so of every file. What differs is
   *   refused before any of it runs
   */
  static async load(options = {}) {
    expect(options !== null && typeof options === 'object', 'plugin', '{ folder, sha256 }, or missing');
    expectKnown(options, ['folder', 'sha256'], 'plugin.');
    const { folder = BUNDLED, sha256 } = options;
    expect(typeof folder === 'string', 'plugin.folder', 'the path of a folder');
    const { contract, component, digest, contents } = await readFiles(folder, sha256);
    speaks(contract);
    const names = [...contents.keys()].filter((name) => name.endsWith('.wasm'));
    const compiled = await Promise.all(names.map(async (name) => [name, await WebAssembly.compile(contents.get(name))]));
    return new Plugin(contents.get(ENTRY).toString('utf8'), new Map(compiled), { component, sha256: digest });
  }
}

function speaks(contract) {
  try {
    checkVersion(contract);
  } catch (error) {
    throw misconfigured('plugin', `The plugin cannot be loaded: ${error.message}.`, 'Build it from a component of the same version.');
  }
}
