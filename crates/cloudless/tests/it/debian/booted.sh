# Inside a Debian that systemd has booted, without any network: relay and home as its services.
set -eux
state=/var/lib/cloudless
property() { systemctl show --value --property="$2" "$1"; }
# Waits until a command succeeds, for a minute at most.
until_ok() { n=600; until "$@"; do sleep 0.1; n=$((n - 1)); test $n -gt 0; done; }
is() { test "$(property "$1" "$2")" = "$3"; }
is_not() { test "$(property "$1" "$2")" != "$3"; }
# An answer of the relay's port for plain HTTP.
asks() { echo "$(exec 3<> /dev/tcp/127.0.0.1/80; printf 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n' >&3; head -1 <&3)" | grep 'HTTP/1.1 404'; }

dpkg --install /test/cloudless.deb
# Not set up: not started, and no failure.
is cloudless-relay.service ActiveState inactive
is cloudless-relay.socket ActiveState inactive
is cloudless-relay.service Result success

cloudless relay init --address 127.0.0.1 --server-name relay.test
systemctl start cloudless-relay.service
is cloudless-relay.service ActiveState active
is cloudless-relay.service StatusText '0 tunnels are up'
test "$(stat --format=%U $state/relay)" = cloudless-relay
asks
# Its own sandbox is closed inside of systemd's.
if journalctl -u cloudless-relay | grep 'in part'; then exit 1; fi
main=$(property cloudless-relay.service MainPID)
grep --quiet '^CapEff:\s*0000000000000000$' /proc/$main/status

# Root's commands, with the service and without.
code=$(cloudless relay invite contacts.test)
systemctl reload cloudless-relay.service
test "$(cloudless relay status --json | grep -o '"taken":[0-9]*')" = '"taken":1'
kill -HUP "$main"
until_ok sh -c 'cloudless relay status --json | grep "\"taken\":2"'
is cloudless-relay.service ActiveState active
echo 'sandbox = maybe' >> $state/relay/relay.toml
if systemctl reload cloudless-relay.service; then exit 1; fi
is cloudless-relay.service ActiveState active
sed -i '$d' $state/relay/relay.toml

# A port that is never closed: who comes between two processes is answered by the second.
systemctl restart cloudless-relay.service
asks
kill -KILL "$(property cloudless-relay.service MainPID)"
asks
until_ok is cloudless-relay.service NRestarts 1

# Home: joins, runs and gets its tunnel up, in the service's place as its user.
printf '%s' "$code" | cloudless home join -
cloudless device add --create-user ann phone > /dev/null
systemctl start cloudless-home.service
until_ok is cloudless-home.service StatusText 'tunnels to 1 of 1 relays are up'
systemctl reload cloudless-home.service
echo 'sandbox = maybe' >> $state/home/home.toml
if systemctl reload cloudless-home.service; then exit 1; fi
is cloudless-home.service ActiveState active
sed -i '$d' $state/home/home.toml
if journalctl -u cloudless-home | grep 'in part'; then exit 1; fi
cloudless device add ann tablet > /dev/null
systemctl stop cloudless-home.service
cloudless device add ann laptop > /dev/null
cloudless book add club
cloudless home backup /root/backup.sqlite
test -z "$(find $state/home ! -user cloudless-home)"
systemctl start cloudless-home.service
# The relay is gone: home is started all the same, and serves.
systemctl stop cloudless-relay.socket cloudless-relay.service
systemctl restart cloudless-home.service
is cloudless-home.service ActiveState active
is cloudless-home.service StatusText 'no tunnel to a relay yet'

# A role that hangs is bitten by the watchdog and started anew.
mkdir -p /run/systemd/system/cloudless-home.service.d
printf '[Service]\nWatchdogSec=3\n' > /run/systemd/system/cloudless-home.service.d/soon.conf
systemctl daemon-reload
systemctl restart cloudless-home.service
hung=$(property cloudless-home.service MainPID)
kill -STOP "$hung"
until_ok is_not cloudless-home.service NRestarts 0
journalctl -u cloudless-home | grep 'Watchdog timeout'
until_ok is cloudless-home.service ActiveState active
test "$(property cloudless-home.service MainPID)" != "$hung"

# Restarts for ever: more often than systemd's usual limit.
printf '[Service]\nRestartSec=100ms\n' > /run/systemd/system/cloudless-home.service.d/soon.conf
systemctl daemon-reload
for _ in 1 2 3 4 5 6 7 8; do
    main=$(property cloudless-home.service MainPID)
    kill -KILL "$main"
    until_ok is_not cloudless-home.service MainPID "$main"
    until_ok is cloudless-home.service SubState running
done

cloudless service status home
cloudless service status home --json | grep '"now":"active (running)"'
# An upgrade restarts what runs; a removal stops it.
main=$(property cloudless-home.service MainPID)
dpkg --install /test/cloudless.deb
until_ok is_not cloudless-home.service MainPID "$main"
until_ok is cloudless-home.service ActiveState active
dpkg --remove cloudless
is cloudless-home.service ActiveState inactive

# Without the package: units of `service install`, state and program in home directories.
useradd --create-home ben
install -m 755 -D /test/cloudless '/home/ben/my bin/cloudless'
runuser -u ben -- '/home/ben/my bin/cloudless' relay init --state '/home/ben/my relay' --address 127.0.0.1
'/home/ben/my bin/cloudless' service install relay --state '/home/ben/my relay'
systemctl enable --now cloudless-relay.service
is cloudless-relay.service ActiveState active
is cloudless-relay.socket ActiveState active
systemctl restart cloudless-relay.service cloudless-relay.socket
is cloudless-relay.service ActiveState active
is cloudless-relay.service User ben
asks
'/home/ben/my bin/cloudless' service uninstall relay
is cloudless-relay.service ActiveState inactive
test ! -e /etc/systemd/system/cloudless-relay.service

# A user's own, which lingers.
loginctl enable-linger ben
as_ben() { runuser -u ben -- env XDG_RUNTIME_DIR="/run/user/$(id -u ben)" USER=ben HOME=/home/ben "$@"; }
until_ok as_ben systemctl --user is-system-running
as_ben '/home/ben/my bin/cloudless' relay init --address 127.0.0.1 --listen 127.0.0.1:8443 --no-http
as_ben '/home/ben/my bin/cloudless' service install relay --user
as_ben systemctl --user enable --now cloudless-relay.service
as_ben '/home/ben/my bin/cloudless' service status relay --user | grep 'active (running)'
as_ben systemctl --user reload cloudless-relay.service
as_ben '/home/ben/my bin/cloudless' service uninstall relay --user
echo PASSED
