#!/bin/bash
# Makes this VM the machine that /etc/weir/machine names. Runs at every boot, and every five
# minutes until it has succeeded. What is as it should be stays untouched.
set -euo pipefail
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
. /etc/weir/machine
mkdir -p /var/lib/weir
exec 9>/run/weir-bootstrap.lock >>/var/log/weir-bootstrap.log 2>&1
flock --nonblock 9 || exit 0
if [ "${1:-}" = again ]; then
    tries=$(cat /run/weir-tries 2>/dev/null || echo 0)
    if [ "$(cat /var/lib/weir/state 2>/dev/null)" = ready ] || [ "$tries" -ge 24 ]; then exit 0; fi
    echo $((tries + 1)) >/run/weir-tries
fi

step=start
ended() {
    code=$?
    [ "$code" = 0 ] && return
    echo "failed: $step" | tee /var/lib/weir/state
    logger -t weir "bootstrap of $MACHINE failed: $step" 2>/dev/null || true
}
trap ended EXIT
begin() {
    step=$1
    echo "$(date -u +%FT%TZ) $step"
}
# retry TRIES PAUSE COMMAND...
retry() {
    local tries=$1 pause=$2
    shift 2
    until "$@"; do
        tries=$((tries - 1))
        if [ "$tries" -le 0 ]; then return 1; fi
        sleep "$pause" 9>&-
    done
}
# put FROM TO MODE [GROUP]: true if that changed something.
put() {
    cmp -s "$1" "$2" && return 1
    install -D -m "$3" -g "${4:-root}" "$1" "$2.weir" && mv "$2.weir" "$2"
}
service_() {
    service "$@" 9>&- || true
}

keyring() {
    local key=/etc/weir/clearwater.gpg
    if [ -n "$KEY_URL" ] && [ ! -s "$key" ]; then
        command -v gpg >/dev/null || apt-get install --yes gnupg
        local home
        home=$(mktemp -d)
        curl --fail --silent --show-error --location --max-time 60 -o "$home/key" "$KEY_URL"
        gpg --homedir "$home" --batch --quiet --import "$home/key"
        local found
        found=$(gpg --homedir "$home" --batch --with-colons --fingerprint |
            awk -F: '$1 == "pub" { primary = 1 } $1 == "fpr" && primary { print $10; primary = 0 }')
        if [ -n "$KEY_FINGERPRINT" ] && [ "$found" != "$KEY_FINGERPRINT" ]; then
            echo "the key at $KEY_URL is ${found:-none}, not $KEY_FINGERPRINT"
            rm -rf "$home"
            return 1
        fi
        gpg --homedir "$home" --batch --export >"$home/keyring"
        install -m 644 "$home/keyring" "$key"
        rm -rf "$home"
    fi
}
repository() {
    local options=""
    if [ -s /etc/weir/clearwater.gpg ]; then
        if dpkg --compare-versions "$(dpkg -s apt | sed -n 's/^Version: //p')" ge 1.1; then
            options="[signed-by=/etc/weir/clearwater.gpg] "
        else # Too old to tie a key to a repository.
            put /etc/weir/clearwater.gpg /etc/apt/trusted.gpg.d/clearwater.gpg 644 || true
        fi
    else
        options="[trusted=yes] "
    fi
    echo "deb $options$REPOSITORY" >/etc/weir/clearwater.list
    put /etc/weir/clearwater.list /etc/apt/sources.list.d/clearwater.list 644 || true
}
missing() {
    local package
    for package in $PACKAGES; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || echo "$package"
    done
}
packages() {
    local wanted
    wanted=$(missing)
    if [ -z "$wanted" ]; then return 0; fi
    retry 3 10 keyring
    repository
    retry 10 15 apt-get update
    # shellcheck disable=SC2086
    retry 3 30 apt-get install --yes -o DPkg::Options::=--force-confdef \
        -o DPkg::Options::=--force-confold $wanted 9>&-
}

# Whom to ask for the site's etcd: those named for it, and some of each role.
contacts() {
    sed -n 's/^etcd [a-z]* //p' /etc/weir/live | tr ' ' '\n'
    awk '$1 == "peers" && $2 != "dns" { print $3; print $4 }' /etc/weir/live
}
# Asks one member of the site's etcd for the others; prints those that have started.
members() {
    local answer mine
    answer=$(curl --fail --silent --connect-timeout 1 --max-time 3 "http://$1:4000/v2/members") || return 1
    # This VM has no data: a member with its address was its predecessor.
    mine=$(tr '}' '\n' <<<"$answer" | grep -F "http://$LOCAL_IP:2380\"" |
        grep -oE '"id":"[0-9a-f]+"' | cut -d '"' -f 4) || true
    if [ -n "$mine" ]; then
        curl --fail --silent --max-time 10 -X DELETE "http://$1:4000/v2/members/$mine" || return 1
    fi
    grep -oE '"clientURLs":\["http://[0-9.]+' <<<"$answer" | sed 's|.*//||' |
        grep -vxF "$LOCAL_IP" | paste -s -d ,
}
existing() {
    local address found
    for address in $(contacts | grep -vxF "$LOCAL_IP" | awk '!seen[$0]++'); do
        found=$(members "$address") || continue
        if [ -n "$found" ]; then
            echo "etcd_cluster=$found" >/etc/weir/etcd
            return 0
        fi
    done
    return 1
}
# Which etcd this machine belongs to is settled once: a member that forgets must not found another.
etcd() {
    local how addresses
    if [ -e /etc/clearwater/local_config ]; then return 0; fi
    how=$(sed -n 's/^etcd \([a-z]*\).*/\1/p' /etc/weir/live)
    addresses=$(sed -n 's/^etcd [a-z]* //p' /etc/weir/live | tr ' ' ,)
    case $how in
    founds) existing || echo "etcd_cluster=$addresses" >/etc/weir/etcd ;;
    joins) retry 30 10 existing ;;
    proxies) echo "etcd_proxy=$addresses" >/etc/weir/etcd ;;
    esac
    cat /etc/weir/local_config /etc/weir/etcd >/etc/weir/local_config.whole
    put /etc/weir/local_config.whole /etc/clearwater/local_config 644
}
# Writes a part of the site's configuration into etcd, unless it has one.
upload() {
    local url="http://$LOCAL_IP:4000/v2/keys/clearwater/$SITE/configuration/$1"
    if curl --fail --silent --max-time 10 -o /dev/null "$url"; then return 0; fi
    curl --silent --show-error --max-time 30 -X PUT "$url?prevExist=false" \
        --data-urlencode "value@$2" | grep -qE '"action":"create"|"errorCode":105'
}
uploads() {
    local part
    for part in $UPLOADS; do
        retry 30 10 upload "$part" "/etc/weir/$part"
    done
}
configured() {
    grep -qs '^home_domain=' /etc/clearwater/shared_config
}

resolver() {
    [ -e /etc/dnsmasq.resolv.conf ] || return 0
    local line=RESOLV_CONF=/etc/dnsmasq.resolv.conf
    if ! grep -qxF "$line" /etc/default/dnsmasq; then
        echo "$line" >>/etc/default/dnsmasq
        service_ dnsmasq restart
    fi
}
name_server() {
    local changed=0
    put /etc/weir/named.conf.options /etc/bind/named.conf.options 644 bind && changed=1
    put /etc/weir/named.conf.local /etc/bind/named.conf.local 640 bind && changed=1
    # From then on the zone is BIND's: it writes into it what it is told.
    if [ ! -e "/var/lib/bind/db.$DOMAIN" ]; then
        install -m 644 -o bind -g bind /etc/weir/zone "/var/lib/bind/db.$DOMAIN"
        changed=1
    fi
    if [ "$changed" = 1 ]; then service_ bind9 restart; fi
}

serves() {
    local answer
    answer=$(curl --silent --max-time 5 -w '%{http_code}' "http://$LOCAL_IP/ping") || return 1
    [ "$answer" = OK200 ] || [ "${answer: -3}" = 301 ]
}
count() {
    local access=""
    if [ -e /etc/mysql/debian.cnf ]; then access=--defaults-file=/etc/mysql/debian.cnf; fi
    # shellcheck disable=SC2086
    mysql $access --batch --skip-column-names -e 'SELECT COUNT(*) FROM numbers' ellis
}
enough() {
    [ "$(count)" -ge "$NUMBERS_COUNT" ]
}
numbers() {
    retry 60 5 serves
    if enough; then return 0; fi
    local ellis=/usr/share/clearwater/ellis
    "$ellis/env/bin/python" "$ellis/src/metaswitch/ellis/tools/create_numbers.py" \
        --start "$NUMBERS_START" --count "$NUMBERS_COUNT" --realm "$DOMAIN"
    enough
}

begin firewall
/usr/local/sbin/weir-firewall
if [ "$ROLE" != dns ]; then
    begin 'etcd: founding or joining'
    etcd
fi
begin packages
packages
begin resolver
resolver
if [ "$ROLE" = dns ]; then
    begin 'name server'
    name_server
else
    begin 'etcd: waiting until it takes writes'
    /usr/share/clearwater/clearwater-etcd/scripts/wait_for_etcd
    begin 'configuration of the site'
    uploads
    retry 120 5 configured
    if [ -n "$NUMBERS_COUNT" ]; then
        begin 'numbers'
        numbers
    fi
fi
begin ready
echo ready >/var/lib/weir/state
