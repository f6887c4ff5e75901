#!/usr/bin/env bash
# Starts one of several PostgreSQL servers that follow each other, in a container or elsewhere:
# the first one makes the database, the others copy it, and any of them may be promoted.
#
#   PGDATA   the data folder, on a volume; it is made
#   NODE     the name of this server, which is also its host name
#   NODES    the names of all, separated by commas; the first one makes the database
#   SECRETS  the folder with the files chat.password and replicator.password
#
# A commit waits until one of the other servers has it on disk: what was confirmed survives the
# loss of any one machine, and while all others are away, commits wait.
set -euo pipefail
umask 077

# Beside the data: there is no other place that only PostgreSQL may read.
passwords=$PGDATA.pass
peers="user=replicator host=$NODES passfile=$passwords connect_timeout=3 target_session_attrs=primary"

export SECRETS
password=$(sed 's/[:\\]/\\&/g' "$SECRETS/replicator.password")
echo "*:*:*:replicator:$password" >"$passwords"

# Whether one of the servers takes writes.
has_primary() {
    psql "$peers dbname=replication replication=true" --no-psqlrc --quiet --no-password \
        --command IDENTIFY_SYSTEM >/dev/null 2>&1
}

# Makes a new database. Synchronous commits are not on yet: they would wait for ever.
make_first() {
    initdb --pgdata "$PGDATA.new" --username postgres --encoding UTF8 --locale C.UTF-8 \
        --data-checksums --auth-local peer --auth-host reject >/dev/null
    cat >"$PGDATA.new/pg_hba.conf" <<-END
		local all        all               peer
		# The servers' own network. Over other networks: hostssl, and a certificate.
		host chat        chat       samenet scram-sha-256
		host replication replicator samenet scram-sha-256
	END
    echo "include_if_exists 'nodes.conf'" >>"$PGDATA.new/postgresql.conf"
    pg_ctl --pgdata "$PGDATA.new" --wait --silent --log "$PGDATA.log" \
        --options "-c listen_addresses='' -c unix_socket_directories='$PGDATA.new'" start
    psql --host "$PGDATA.new" --username postgres --dbname postgres \
        --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<-'END'
		\set chat `cat "$SECRETS/chat.password"`
		\set replicator `cat "$SECRETS/replicator.password"`
		CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
		CREATE ROLE chat LOGIN PASSWORD :'chat';
		CREATE DATABASE chat OWNER chat;
		REVOKE ALL ON DATABASE chat FROM PUBLIC;
	END
    pg_ctl --pgdata "$PGDATA.new" --wait --silent --mode fast stop
}

# Copies the database of the primary; waits for it.
copy_primary() {
    until pg_basebackup --dbname "$peers" --pgdata "$PGDATA.new" \
        --wal-method stream --checkpoint fast --no-password; do
        rm -rf "$PGDATA.new"
        echo "$NODE: no primary to copy from yet" >&2
        sleep 2
    done
    touch "$PGDATA.new/standby.signal"
}

if [ ! -d "$PGDATA" ]; then
    rm -rf "$PGDATA.new"
    if [ "$NODE" = "${NODES%%,*}" ] && ! has_primary; then
        make_first
    else
        copy_primary
    fi
    # Whole or not at all.
    mv "$PGDATA.new" "$PGDATA"
elif [ ! -e "$PGDATA/standby.signal" ] && has_primary; then
    # Another one was promoted meanwhile. Two primaries would be two histories.
    echo "$NODE: another server takes writes, so this one must follow it: remove $PGDATA, and" \
        "the data is copied. (If this is the one that was promoted, stop the other one first.)" >&2
    exit 1
fi

cat >"$PGDATA/nodes.conf" <<END
cluster_name = '$NODE'
listen_addresses = '*'
# Any one of the others. Its own name does not count.
synchronous_standby_names = 'ANY 1 ("${NODES//,/\",\"}")'
synchronous_commit = on
primary_conninfo = '$peers'
# A server that was promoted is followed by the others.
recovery_target_timeline = latest
# A standby goes to the new primary at once, and a dead connection is noticed soon.
wal_retrieve_retry_interval = 500ms
wal_receiver_timeout = 10s
wal_sender_timeout = 10s
# What a standby that was away may still fetch; further behind, it must be copied again.
wal_keep_size = 1GB
password_encryption = scram-sha-256
END

exec postgres -D "$PGDATA" "$@"
