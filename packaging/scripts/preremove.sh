#!/bin/sh
# Before a removal (Debian: remove; rpm: 0). An upgrade leaves the running one alone until its successor is there.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now vipd.service || true
	fi
	for name in keepalived ipvsadm genhash; do
		if command -v update-alternatives >/dev/null 2>&1; then
			update-alternatives --quiet --remove "$name" /usr/sbin/vipd
		fi
	done
	;;
esac
exit 0
