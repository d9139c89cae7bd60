"""Uses what a connection offers, one after the other, and says what came of it. The first request to the API is answered 503."""

from procore_auth import Connection, SignInRequired

connection = Connection.from_config()
kept = connection.request_or_park(
    "POST", "/rest/v1.0/projects", json={"project": {"name": "Annex"}}, order_key="annex"
)
print("kept", kept.request.state, kept.request.method, kept.request.order_key, kept.request.reason)
print("parked", [(request.id == kept.request.id, request.size) for request in connection.parked()])
print("status", connection.status().parked)
print("held up", connection.replay().stopped.code)
# Another process knows nothing of the pause that the server asked this one for.
report = Connection.from_config().replay(kept.request.id)
print("replayed", [(sent.id == kept.request.id, sent.status) for sent in report.replayed], report.remaining, report.stopped)
print("parked", connection.parked())
print("verified", connection.verify().login)
print("diagnosed", connection.diagnose())
visit = connection.upkeep(next_visit=60)
print("visit", visit.refreshed, visit.status.health, visit.come_back_at > visit.status.last_evidence)
visit = connection.upkeep(next_visit=7200)
print("visit", visit.refreshed, visit.status.refreshes)
connection.revoke()
try:
    connection.access_token()
except SignInRequired as error:
    print("refused", error.kind, error.code, error.retry_at)
print("login", "client_id=" in connection.begin_login().authorize_url)
