# Inside a fresh Debian that is not booted: what the package does to a system.
set -eux
deb=/test/cloudless.deb
state=/var/lib/cloudless

dpkg --install "$deb"
cloudless --version
getent passwd cloudless-relay cloudless-home
test "$(stat --format=%a:%U $state)" = 755:root
test "$(stat --format=%a /etc/default/cloudless)" = 600
systemctl is-enabled cloudless-relay.socket cloudless-relay.service cloudless-home.service
zcat /usr/share/man/man1/cloudless-relay-init.1.gz > /dev/null
dpkg-query --show --showformat='${Conffiles}' cloudless | grep /etc/default/cloudless
bash -c 'source /usr/share/bash-completion/completions/cloudless; complete -p cloudless'
systemd-analyze verify --man=no cloudless-relay.service cloudless-home.service
XDG_RUNTIME_DIR=/tmp systemd-analyze verify --man=no --user /usr/lib/systemd/user/cloudless-home.service
# The units are there: another set would hide them.
if cloudless service install home; then exit 1; fi

# Upgrades keep what the owner has changed.
systemctl disable cloudless-home.service
echo CLOUDLESS_LOG=debug >> /etc/default/cloudless
cloudless relay init --address relay.example.org
cloudless user add ann
dpkg --install "$deb"
dpkg --install "$deb"
test "$(systemctl is-enabled cloudless-home.service || true)" = disabled
grep --quiet CLOUDLESS_LOG=debug /etc/default/cloudless

# What root does to a service's state, the service can read.
chown -R cloudless-home: $state/home
cloudless device add ann phone > /dev/null
cloudless book add ann
test -z "$(find $state/home ! -user cloudless-home)"
chown -R cloudless-relay: $state/relay
cloudless relay invite contacts.example.org > /dev/null
test -z "$(find $state/relay ! -user cloudless-relay)"

# Contacts and keys survive even a purge; what is empty does not.
dpkg --remove cloudless
test -e $state/home/store.sqlite
dpkg --purge cloudless | tee /tmp/said
grep --quiet "kept in $state" /tmp/said
test -e $state/home/store.sqlite
test -e $state/relay/relay.key
test ! -e /etc/default/cloudless
dpkg --install "$deb"
cloudless user list | grep --quiet ann
rm -r $state
dpkg --purge cloudless
test ! -e $state
echo PASSED
