#!/bin/sh
# After a removal; purge takes back what a running daemon has written too.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
case "$1" in
remove | purge | 0) rmdir --ignore-fail-on-non-empty /run/vipd/bpffs /run/vipd 2>/dev/null || true ;; # another instance may be there
esac
if [ "$1" = purge ]; then
	rm -rf /var/lib/vipd
	rmdir --ignore-fail-on-non-empty /etc/vipd 2>/dev/null || true
fi
exit 0
