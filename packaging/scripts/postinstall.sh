#!/bin/sh
# After an installation or an upgrade, of Debian's package (configure VERSION-BEFORE) and of the rpm (1: first, 2: upgrade).
set -e

# The names that fingers know, where no package has them. An installed keepalived or ipvsadm keeps its own.
for name in keepalived ipvsadm genhash; do
	case $name in
	genhash) path=/usr/bin/$name ;;
	*) path=/usr/sbin/$name ;;
	esac
	if [ -e "$path" ] && [ ! -L "$path" ]; then
		continue
	fi
	if command -v update-alternatives >/dev/null 2>&1; then
		update-alternatives --quiet --install "$path" "$name" /usr/sbin/vipd 10
	fi
done

getent group vipd >/dev/null 2>&1 || groupadd --system vipd 2>/dev/null || addgroup --quiet --system vipd
# Who reads what real servers answer to checks. He is in no group but his own: that of the socket above all.
getent passwd vipd-checks >/dev/null 2>&1 ||
	useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vipd-checks 2>/dev/null ||
	adduser --quiet --system --group --no-create-home --home /nonexistent vipd-checks

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	# An upgrade: the running one is replaced, which nobody notices, if this one can take over what it has. It is neither enabled nor started for the first time: two directors that both
	# believe to be alone are worse than none. keepalived, if it runs, goes on until somebody says: systemctl start vipd
	if [ -n "$2" ] || [ "$1" = 2 ]; then
		if ! systemctl --quiet is-active vipd.service; then
			:
		elif /usr/sbin/vipd upgrade --check; then
			systemctl restart vipd.service || true
		else
			echo "vipd: the running director goes on as the version before, for the reason above. To replace it all the same," >&2
			echo "vipd: when its connections may be lost: systemctl restart vipd" >&2
		fi
	fi
fi
exit 0
