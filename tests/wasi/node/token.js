// As docs/embedding.md shows it: jco makes a module of the component, and its shim lends what Node has.
// `node token.js COMPONENT STORES`, in a folder whose `node_modules` has jco; prints an access token.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { transpileBytes } from '@bytecodealliance/jco-transpile';
import { _setEnv } from '@bytecodealliance/preview2-shim/cli';
import { _setPreopens } from '@bytecodealliance/preview2-shim/filesystem';

const [component, stores] = process.argv.slice(2);
const { files } = await transpileBytes(await readFile(component), { name: 'procore' });
for (const [name, bytes] of Object.entries(files)) {
  const file = path.resolve('out', name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, bytes);
}
process.umask(0o077);
_setEnv(Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('PROCORE_'))));
_setPreopens({ '/stores': stores });
const { auth } = await import(path.resolve('out/procore.js'));
console.log(auth.accessToken().bearer);
