#!/bin/bash
# Filters what reaches this machine: /etc/weir/ports says which port serves whom, /etc/weir/live
# which addresses those have. The rules replace each other in one step.
set -euo pipefail
command -v iptables-restore >/dev/null || exit 0
rules=$(awk '
    FNR == NR {
        if ($1 != "peers") next
        for (i = 3; i <= NF; i++) {
            peers[$2] = peers[$2] " " $i
            peers["stack"] = peers["stack"] " " $i
            if ($2 != "dns") peers["clearwater"] = peers["clearwater"] " " $i
        }
        next
    }
    {
        from = $4 ~ /^[0-9]/ ? $4 : peers[$4]
        count = split(from, addresses, " ")
        for (i = 1; i <= count; i++)
            print "-A INPUT -s " addresses[i] " -p " $1 " -m " $1 " --dport " $2 ":" $3 " -j ACCEPT"
    }' /etc/weir/live /etc/weir/ports)
iptables-restore <<END
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 0 -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -p udp -m udp --sport 67 --dport 68 -j ACCEPT
$rules
COMMIT
END
