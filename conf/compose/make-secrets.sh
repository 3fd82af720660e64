#!/bin/sh
# Makes what the services must not share with the world: a CA, a certificate for the agents and one for the coordinator,
# the bearer tokens and the keys of the S3 server. What is there already stays. As root it gives all of that, and the
# VOLUMEs, to the user UID and the group of the same number. Usage: make-secrets.sh DIRECTORY UID [VOLUME …]
set -eu
umask 077
directory=$1
owner=$2
shift 2
mkdir -p "$directory"
cd "$directory"

token() {
    [ -s "$1" ] || openssl rand -hex 32 > "$1"
}

certificate() { # name, subject alternative names
    if [ ! -s "$1.crt" ]; then
        openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
            -keyout "$1.key" -out "$1.csr" 2> /dev/null
        printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$2" > "$1.ext"
        openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile "$1.ext" \
            -out "$1.crt" 2> /dev/null
        rm -f "$1.csr" "$1.ext"
    fi
}

if [ ! -s ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=helenus" \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout ca.key -out ca.pem 2> /dev/null
fi
certificate agent "DNS:cassandra-1,DNS:cassandra-2,DNS:cassandra-3,DNS:localhost,IP:127.0.0.1"
certificate coordinator "DNS:coordinator,DNS:localhost,IP:127.0.0.1"
token agent-token
token coordinator-token
token s3-secret
cat > s3.json << JSON
{"identities": [{"name": "helenus", "credentials": [{"accessKey": "helenus", "secretKey": "$(cat s3-secret)"}],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}
JSON
chmod 0644 ca.pem agent.crt coordinator.crt
if [ "$(id -u)" = 0 ]; then
    chown -R "$owner:$owner" "$directory"
    for volume in "$@"; do
        chown "$owner:$owner" "$volume"
    done
fi
