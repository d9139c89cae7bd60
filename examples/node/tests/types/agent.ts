/** An agent as a user of TypeScript writes it: `tests/types.test.js` has the compiler check it. What is wrong must be found. */
import { Connection, FileStore, HttpFailure, Plugin, ProcoreAuthError, Secret, type HttpClient, type Journal } from 'procore-auth-node';

const journal: Journal = { record: (connection, { severity, code }) => console.log(connection, severity, code) };
const http: HttpClient = {
  send: async ({ url }) => {
    throw new HttpFailure('connect', url.hostname, false);
  },
};
const connection = new Connection(
  { name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: new Secret('a'), policy: { pkce: true } },
  { plugin: await Plugin.load({ sha256: 'ab' }), store: await FileStore.open('state', 'acme'), http, journals: [journal] },
);
try {
  const outcome = await connection.request('GET', '/rest/v1.0/me', { headers: { accept: 'a' }, timeout: 1000 });
  if (outcome.parked !== undefined) console.log(outcome.parked.id);
  else console.log(outcome.status, outcome.headers.get('a'), outcome.text());
  const status = await connection.status();
  console.log(status.incident?.diagnosis.remedy, status.token?.expiresAt);
} catch (error) {
  if (error instanceof ProcoreAuthError && error.kind === 'sign-in-required') console.log(error.remedy, error.retryAt);
}
// @ts-expect-error: a misspelt setting
new Connection({ name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: 'a', redirectURI: '' }, { plugin: {}, store: {} });
// @ts-expect-error: an environment that there is not
const environment: import('procore-auth-node').Environment = 'staging';
// @ts-expect-error: a number is no company's name
await connection.request('GET', '/', { companyId: 'acme' });
console.log(environment);
await connection.close();
