/** A module as `scripts/build-plugin.js` makes them, of a plugin that does what it should not. */
export function instantiate(_, imports) {
  const http = imports['procore:auth/http'];
  const store = imports['procore:auth/store'];
  const random = imports['procore:auth/random'];
  const journal = imports['procore:auth/journal'];
  const post = (url, headers, body) =>
    http.send({ method: 'POST', url, headers, body, timeout: 1000n });
  const secret = { tag: 'form', val: [{ name: 'a', value: { tag: 'client-secret' } }] };
  const empty = { tag: 'empty' };
  return {
    auth: {
      status: () => ({ refreshes: 7n }),
      verify: () => post('https://evil.example/', [], empty),
      beginLogin: () => post('https://api.procore.com/', [], secret),
      finishLogin: () => post('https://login.procore.com/oauth/token', [], secret).status,
      revoke: () => post('https://api.procore.com/', [{ name: 'a', value: 'b\r\nHost: evil.example' }], empty),
      forget: () => post('https://api.procore.com/', [], { tag: 'stored', val: 'session' }),
      adopt: () => store.get('../../etc/passwd'),
      upkeep: () => {
        post('https://login.procore.com/oauth/token', [], secret);
        throw new WebAssembly.RuntimeError('unreachable');
      },
      accessToken: () => {
        for (;;);
      },
      renewRejected: () => {
        for (;;) journal.record({ severity: 'debug', code: 'x', message: '', fields: [] });
      },
    },
    api: {
      parked: () => random.bytes(1025),
      discard: () => store.hold('session', new Uint8Array(), undefined),
      replay: () => {
        store.lock(0n);
        return store.lock(0n);
      },
      send: () => {
        const kept = [];
        for (;;) kept.push(new Array(100_000).fill({}).map(() => ({})));
      },
    },
    advice: { diagnose: () => ({ reaches: Object.keys(process.env) }) },
  };
}
