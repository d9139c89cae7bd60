// Exits with 0 where this Node is as new as package.json asks for, and with 1 where it is older.

import { readFileSync } from 'node:fs';

const manifest = new URL('../package.json', import.meta.url);
const { engines } = JSON.parse(readFileSync(manifest, 'utf8'));
const wanted = numbers(engines.node.replace('>=', ''));
const here = numbers(process.versions.node);
const differs = wanted.findIndex((number, place) => number !== here[place]);
process.exit(differs === -1 || here[differs] > wanted[differs] ? 0 : 1);

function numbers(version) {
  return version.split('.').map(Number);
}
