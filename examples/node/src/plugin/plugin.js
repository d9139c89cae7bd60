import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { checkVersion } from '../contract.js';
import { misconfigured } from '../error.js';

const BUNDLED = fileURLToPath(new URL('../../plugin', import.meta.url));

/**
 * The plugin, compiled. Loading takes some 100 ms: load once, and give it to every `Connection`.
 *
 * Whoever can write the folder can run code in this process: it holds JavaScript that `scripts/build-plugin.js` made.
 */
export class Plugin {
  /**
   * @param {string} url of the module that makes instances
   * @param {Map<string, WebAssembly.Module>} modules by their file's name
   * @param {string} sha256 the digest of the component that they were made from
   */
  constructor(url, modules, sha256) {
    this.url = url;
    this.modules = modules;
    this.sha256 = sha256;
  }

  /**
   * Loads what `scripts/build-plugin.js` made.
   * @param {object} [options]
   * @param {string} [options.folder] where it is; the package's own by default
   * @param {string} [options.sha256] the digest of the component that is expected; another is refused
   */
  static async load({ folder = BUNDLED, sha256 } = {}) {
    const manifest = await readManifest(folder);
    checkVersion(manifest.contract);
    if (sha256 !== undefined && sha256.toLowerCase() !== manifest.sha256) {
      const what = `The plugin in ${folder} was made from another component: ${manifest.sha256}.`;
      throw misconfigured('plugin-digest', what, 'Build it from the component that is expected, or change `sha256`.');
    }
    const names = (await readdir(folder)).filter((name) => name.endsWith('.wasm'));
    const compiled = await Promise.all(
      names.map(async (name) => [name, await WebAssembly.compile(await readFile(path.join(folder, name)))]),
    );
    return new Plugin(pathToFileURL(path.join(folder, 'procore-auth.js')).href, new Map(compiled), manifest.sha256);
  }
}

async function readManifest(folder) {
  try {
    return JSON.parse(await readFile(path.join(folder, 'manifest.json'), 'utf8'));
  } catch (error) {
    const what = `There is no plugin in ${folder} (${error.code ?? error.message}).`;
    throw misconfigured('plugin-missing', what, 'Run `npm run build-plugin -- PATH/procore-auth.wasm` in the package.');
  }
}
