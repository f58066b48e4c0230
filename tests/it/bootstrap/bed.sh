#!/bin/bash
# One VM: boots a Debian root twice with a machine's user data, and a third time by its script
# alone. Everything happens in namespaces of its own, on copies, without a way out.
#
# bed.sh ROOT FOLDER ADDRESS. FOLDER has `user-data` and `repository`; what was found comes to
# `first`, `second`, `third` (all files, by mode, owner and SHA-256), `rules` and `log`. Where
# FOLDER/neighbour is not empty, an etcd of that address is there before. FOLDER/configured says when
# the site gets its configuration from somebody else: `before`, `later` or `never`.
set -euo pipefail
root=$1 folder=$2 address=$3
export LC_ALL=C PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin

vm=$folder/vm
mkdir -p "$vm"
mount -t tmpfs -o size=1g tmpfs "$vm"
mkdir "$vm/upper" "$vm/work" "$vm/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$vm/upper,workdir=$vm/work" "$vm/root"
vm=$vm/root
mount -t proc proc "$vm/proc"
mount -t tmpfs tmpfs "$vm/run"
mount -t tmpfs tmpfs "$vm/dev"
for node in null zero full random urandom tty; do
    touch "$vm/dev/$node"
    mount --bind "/dev/$node" "$vm/dev/$node"
done
ln -s /proc/self/fd "$vm/dev/fd"
in_vm() { chroot "$vm" "$@"; }

in_vm ip link set lo up
in_vm ip address add "$address/32" dev lo
mkdir -p "$vm/srv/repository" "$vm/srv/outside"
mount --bind "$folder/repository" "$vm/srv/repository"
in_vm python3 -m http.server --bind 127.0.0.1 --directory /srv/repository 8000 >"$folder/http.log" 2>&1 &
if [ -s "$folder/neighbour" ]; then
    neighbour=$(cat "$folder/neighbour")
    in_vm ip address add "$neighbour/32" dev lo
    in_vm etcd --name "${neighbour//./-}" --data-dir /srv/outside/etcd --enable-v2 \
        --listen-client-urls "http://$neighbour:4000" --advertise-client-urls "http://$neighbour:4000" \
        --listen-peer-urls "http://$neighbour:2380" --initial-advertise-peer-urls "http://$neighbour:2380" \
        --initial-cluster "${neighbour//./-}=http://$neighbour:2380" >"$folder/etcd.log" 2>&1 &
fi
# Somebody else gives the site its configuration: the neighbour, or who comes later.
configure() {
    local url=http://$1:4000/v2/keys/clearwater/site1/configuration/shared_config
    for _ in $(seq 600); do
        if in_vm curl -fsS -o /dev/null -X PUT "$url" --data-urlencode \
            "value@/srv/repository/shared_config" 2>/dev/null; then return 0; fi
        sleep 0.2
    done
    return 1
}
case $(cat "$folder/configured") in
before) configure "$neighbour" ;;
later) configure "$address" & ;;
esac

seed=$vm/var/lib/cloud/seed/nocloud
mkdir -p "$seed"
cp "$folder/user-data" "$seed/user-data"
echo 'instance-id: i-1' >"$seed/meta-data"
cat >"$vm/etc/cloud/cloud.cfg.d/99-bed.cfg" <<END
datasource_list: [NoCloud]
network: {config: disabled}
locale: false
apt: {preserve_sources_list: true}
END

boot() {
    in_vm cloud-init init --local
    in_vm cloud-init init
    in_vm cloud-init modules --mode config
    in_vm cloud-init modules --mode final
}
# All files but logs, caches, what etcd stores, and cloud-init's own notes.
list() {
    in_vm find / -xdev \( -path /var/log -o -path /var/lib/cloud -o -path /tmp -o -path /srv \
        -o -path /var/lib/clearwater-etcd -o -path /var/cache -o -name __pycache__ \) \
        -prune -o -type f -print0
}
files() {
    list | in_vm xargs -0 sha256sum | sort -k 2 >"$folder/sums"
    list | in_vm xargs -0 stat -c '%a %U:%G %n' | sort -k 3 >"$folder/modes"
    paste -d ' ' "$folder/modes" "$folder/sums" | awk '{ print $3, $1, $2, $4 }'
}
told() {
    cp "$vm/var/lib/weir/state" "$folder/state" 2>/dev/null || true
    cp "$vm/var/log/weir-bootstrap.log" "$folder/log" 2>/dev/null || true
    cp "$vm/var/log/cloud-init.log" "$folder/cloud-init.log" 2>/dev/null || true
    cp -r "$vm/etc/weir" "$folder/weir" 2>/dev/null || true
    for file in clearwater/local_config clearwater/shared_config chronos/chronos.conf \
        apt/sources.list.d/clearwater.list bind/named.conf.local default/dnsmasq; do
        if [ -e "$vm/etc/$file" ]; then cp "$vm/etc/$file" "$folder/$(basename "$file")"; fi
    done
}
trap told EXIT

boot
files >"$folder/first"
in_vm iptables-save | sed -e '/^#/d' -e 's/\[[0-9:]*\]/[0:0]/' >"$folder/rules"
boot
files >"$folder/second"
in_vm weir-bootstrap
files >"$folder/third"
in_vm iptables-save | sed -e '/^#/d' -e 's/\[[0-9:]*\]/[0:0]/' >"$folder/rules-again"
if [ -e "$vm/etc/bind/named.conf.local" ]; then
    cat "$vm"/etc/bind/named.conf.{options,local} >"$vm/tmp/named.conf"
    in_vm named-checkconf /tmp/named.conf
    in_vm named-checkzone ims.example.com /var/lib/bind/db.ims.example.com
else
    in_vm curl -fsS "http://$address:4000/v2/members" >"$folder/members"
    in_vm curl -fsS "http://$address:4000/v2/keys/clearwater/site1/configuration" >"$folder/keys" || true
fi
if [ -e "$vm/srv/numbers" ]; then cp "$vm/srv/numbers" "$folder/numbers"; fi
