#!/usr/bin/env bash
# Start PostgreSQL, Redis and RabbitMQ on loopback where Debian's packages are installed and nothing
# manages them (a container, a CI runner), and make the accounts that tests/services uses. Run it as
# root. What runs already is left running; running this twice changes nothing. Not for production: the
# passwords below are in a public repository, and the servers take connections from this machine alone.
#
#   postgresql://portcullis:portcullis@127.0.0.1:5432/     may create databases, nothing else
#   amqp://portcullis:portcullis@127.0.0.1:5672/portcullis-test
#   redis://127.0.0.1:6379/15
set -euo pipefail

POSTGRES_PORT=${POSTGRES_PORT:-5432}
REDIS_PORT=${REDIS_PORT:-6379}
RABBITMQ_PORT=${RABBITMQ_PORT:-5672}

say() { printf 'services: %s\n' "$*"; }
fail() { printf 'services: %s\n' "$*" >&2; exit 1; }
there() { command -v "$1" >/dev/null 2>&1; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
await() { # port, name
    for _ in $(seq 240); do
        if listens "$1"; then return; fi
        sleep 0.25
    done
    fail "$2 does not listen on 127.0.0.1:$1"
}
as() { # user, command…
    local user=$1
    shift
    if [ "$(id -un)" = "$user" ]; then "$@"; else runuser -u "$user" -- "$@"; fi
}

postgresql() {
    there pg_lsclusters || { say 'PostgreSQL is not installed: apt-get install postgresql'; return; }
    if listens "$POSTGRES_PORT"; then
        say "PostgreSQL runs already on $POSTGRES_PORT"
    else
        local version name
        read -r version name _ < <(pg_lsclusters --no-header) || fail 'PostgreSQL has no cluster: pg_createcluster'
        pg_ctlcluster "$version" "$name" start -o "-c port=$POSTGRES_PORT -c listen_addresses=127.0.0.1"
        await "$POSTGRES_PORT" PostgreSQL
        say "PostgreSQL $version started on $POSTGRES_PORT"
    fi
    local sql="SELECT 1 FROM pg_roles WHERE rolname = 'portcullis'"
    if [ -z "$(as postgres psql -p "$POSTGRES_PORT" -Atqc "$sql")" ]; then
        as postgres psql -p "$POSTGRES_PORT" -qc "CREATE ROLE portcullis LOGIN CREATEDB PASSWORD 'portcullis'"
        say 'PostgreSQL role portcullis made'
    fi
}

redis() {
    there redis-server || { say 'Redis is not installed: apt-get install redis-server'; return; }
    if listens "$REDIS_PORT"; then say "Redis runs already on $REDIS_PORT"; return; fi
    redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --protected-mode yes --daemonize yes \
        --save '' --appendonly no --dir /tmp >/dev/null
    await "$REDIS_PORT" Redis
    say "Redis started on $REDIS_PORT"
}

rabbitmq() {
    there rabbitmqctl || { say 'RabbitMQ is not installed: apt-get install rabbitmq-server'; return; }
    # One fixed node name: the default holds the machine's name, which a container changes.
    export RABBITMQ_NODENAME=${RABBITMQ_NODENAME:-rabbit@localhost}
    if listens "$RABBITMQ_PORT"; then
        say "RabbitMQ runs already on $RABBITMQ_PORT"
    else
        ERL_EPMD_ADDRESS=127.0.0.1 RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
            RABBITMQ_NODE_PORT=$RABBITMQ_PORT RABBITMQ_DIST_PORT=$((RABBITMQ_PORT + 20000)) \
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
            rabbitmq-server -detached
        await "$RABBITMQ_PORT" RabbitMQ
        say "RabbitMQ started on $RABBITMQ_PORT"
    fi
    rabbitmqctl --quiet await_startup --timeout 120
    if ! rabbitmqctl --quiet list_users --no-table-headers | cut -f1 | grep -qx portcullis; then
        rabbitmqctl --quiet add_user portcullis portcullis
        say 'RabbitMQ user portcullis made'
    fi
    if ! rabbitmqctl --quiet list_vhosts --no-table-headers | grep -qx portcullis-test; then
        rabbitmqctl --quiet add_vhost portcullis-test
        say 'RabbitMQ virtual host portcullis-test made'
    fi
    rabbitmqctl --quiet set_permissions --vhost portcullis-test portcullis '.*' '.*' '.*'
}

postgresql
redis
rabbitmq
