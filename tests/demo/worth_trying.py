"""What `make cluster` prints to be tried. In: where coordinator, agents, tokens and keys are. Out: text; each line that
begins with two blanks is a command, and all of them can be pasted one after the other into one shell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Places:
    """What the commands name: the coordinator's URL, Cassandra's cluster, an agent's URL, files as seen from the
    checkout; `keys` is absolute, for agents read it."""

    coordinator: str
    cluster: str
    agent: str
    curl: str
    agents_curl: str
    keys: str
    shown_keys: str


def worth_trying(places: Places) -> str:
    """All of it."""
    return "\n".join(
        (
            _PARTS,
            _on_the_nodes(places),
            _to_a_point(places),
            _encrypted(places),
            f"""
An agent is asked with the agents' own token:
  curl -K {places.agents_curl} {places.agent}/v1/node
""",
            "make cluster-down ends all; the next make cluster begins from nothing.",
        )
    )


_PARTS = """
Stop one of them, and start it again (its log goes on):
  make cluster-stop PART=agent1
  make cluster-start PART=agent1"""


def _backups(places: Places) -> str:
    return f"curl -K {places.curl} {places.coordinator}/{places.cluster}/backups"


def _on_the_nodes(places: Places) -> str:
    backups = _backups(places)
    tag = f"$({backups} | grep -o 'opscenter_adhoc[^\"]*' | head -1)"
    status = f"curl -K {places.curl} {places.coordinator}/request/$1/status | tee -a /dev/stderr"
    return f"""
Worth trying, one after the other: back up keyspace shop on its nodes and watch it, list, lose the rows, restore them
  follow() {{ while {status} | grep -q '"running"'; do sleep 1; done; }}
  follow $({backups}/run -d '{{"keyspaces": ["shop"]}}' | tr -d '"')
  {backups}
  make cluster-cql CQL='TRUNCATE shop.orders'
  make cluster-cql CQL='SELECT count(*) FROM shop.orders'
  follow $({backups}/restore/{tag} -d '{{"keyspaces": {{"shop": {{}}}}}}' | tr -d '"')
  make cluster-cql CQL='SELECT count(*) FROM shop.orders'"""


def _to_a_point(places: Places) -> str:
    backups = _backups(places)
    point = """'{"pit": "'$T'", "keyspaces": ["shop"], "destination": "'$there'", "pit_destination": "'$there'"}'"""
    return f"""
Back to any moment: archive the commit log (restarts the nodes, one after the other) and take a backup
  there=$({backups}/destinations -d '{{"provider": "local", "path": "points"}}' {_ID})
  follow $({backups}/pit -d '{{"destinations": {{"'$there'": {{"compressed": true}}}}}}' | tr -d '"')
  follow $({backups}/run -d '{{"keyspaces": ["shop"], "destinations": {{"'$there'": {{}}}}}}' | tr -d '"')
write after the backup, note the time, lose all
  make cluster-cql CQL="INSERT INTO shop.orders (id, customer, cents) VALUES (1000, 'after the backup', 1)"
  T=$(date +%s.%6N)
  make cluster-cql CQL='TRUNCATE shop.orders'
see which nodes archive, and up to when everything is safe there (null: nothing yet, a segment is still being filled)
  {backups}/pit
  {backups}/pit/logs
ask whether there is a way back (changes nothing), and go it: all nodes stop at once and start again
  {backups}/pit_check -d {point}
  follow $({backups}/pit/run -d {point} | tr -d '"')
  make cluster-cql CQL='SELECT count(*) FROM shop.orders'
no longer archive (restarts the nodes once more)
  follow $({backups}/pit -X DELETE | tr -d '"')"""


_ID = '| grep -o \'"id": *"[^"]*\' | head -1 | cut -d\'"\' -f4'
"""The id in what answers to a new destination."""


def _encrypted(places: Places) -> str:
    backups = _backups(places)
    secret = f"{places.keys}/one"
    sealed = f'{{"provider": "local", "path": "sealed", "encryption": {{"passphrase_file": "{secret}"}}}}'
    return f"""
An encrypted destination on every agent's disk (all three take passphrases and keys from {places.shown_keys};
README.md has plain ones and those in buckets). Make it, keep the id that it answers, and back up to it
  (umask 077; openssl rand -base64 24 > {places.shown_keys}/one)
  sealed=$({backups}/destinations -d '{sealed}' {_ID})
  follow $({backups}/run -d '{{"keyspaces": ["shop"], "destinations": {{"'$sealed'": {{}}}}}}' | tr -d '"')"""
