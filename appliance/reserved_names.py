"""Names that an instance cannot have, because nft or Docker reads them as something else.

The instance names an nft table, and nft has no way to quote one; it names a Docker network driver as well.
Source: the words that nft 1.0.6 refuses after `table inet` (tests/system/netns/test_instance_names.py asks
the nft that is there), those of later releases up to 1.1 from its scanner, Docker's own network drivers.
"""

from __future__ import annotations

_NFT_WORDS = (
    "accept add ah all and arp auto-merge bridge cgroup chain comment comp constant continue counter cpu "
    "create ct day dccp define delete describe destroy device devices dnat drop dst dup dynamic ecn "
    "element elements eq esp ether exists expires export exthdr fib flags flow flowtable flush frag fwd "
    "gc-interval geneve get goto gre gretap handle hbh hook hour ibriport ibrname icmp icmpv6 igmp iif "
    "iifgroup iifname iiftype import include index inet insert interval ip ip6 ipsec jhash jump last le "
    "limit list log lshift lt map mark masquerade meta meter mh missing monitor ne netdev nftrace not "
    "notrack numgen obriport obrname offload oif oifgroup oifname oiftype or osf pkttype policy position "
    "priority queue quota random redefine redirect reject rename replace reset return rshift rt rt0 rt2 "
    "rtclassid rule ruleset sctp secmark set size skgid skuid snat socket srh symhash synproxy table tcp "
    "th time timeout tproxy tunnel type typeof udp udplite undefine update vlan vmap vni vxlan xor xt "
)
# Plurals are words only after `nft list` and the like, which netd uses too.
_NFT_LISTS = (
    "chains counters flowtables hooks limits maps meters quotas rules secmarks sets synproxys tables "
    "trace tunnels "
)
_DOCKER_DRIVERS = "bridge default host ipvlan local macvlan none null overlay"

RESERVED = frozenset(f"{_NFT_WORDS} {_NFT_LISTS} {_DOCKER_DRIVERS}".split())
"""Lower-case words; none of them can name an instance."""
