#!/bin/bash
# Follows what changes during the life of this machine: which others there are, and whether it may
# found an etcd. Both stand in comments at the top of the user data, which CloudStack's router
# serves in its newest form.
set -euo pipefail
. /etc/weir/machine
new=/etc/weir/live.new
curl --fail --silent --max-time 10 "http://$METADATA/latest/user-data" |
    sed -n 's/^# \(\(machine\|etcd\|peers\) .*\)$/\1/p' >"$new" || exit 0
# Anything else than this machine's own user data changes nothing.
grep -qxF "machine $MACHINE" "$new" && grep -q '^peers ' "$new" || exit 0
if ! cmp -s "$new" /etc/weir/live; then
    mv "$new" /etc/weir/live
    /usr/local/sbin/weir-firewall
fi
rm -f "$new"
