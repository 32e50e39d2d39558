"""Does with KDE's Akonadi what a person does in KAddressBook: reads a command of JSON a line from standard
input, and writes an answer a line to file descriptor 3. It also stands in for the wallet, which would ask
for its own password on a screen."""

import glob
import json
import os
import sqlite3
import subprocess
import sys

from gi.repository import Gio, GLib

# Long enough for a loaded machine.
PATIENCE_S = 60
AGENT = "akonadi_davgroupware_resource"
CONTROL = "org.freedesktop.Akonadi.Control"
MANAGER = "org.freedesktop.Akonadi.AgentManager"
SETTINGS = "org.kde.Akonadi.davGroupware.Settings"
RUNNING = 1
# What is called of the wallet: the types of what goes in and comes out, and the answer but for passwords.
WALLET = {
    "isEnabled": ("", "b", True),
    "networkWallet": ("", "s", "kdewallet"),
    "open": ("sxs", "i", 1),
    "close": ("ibs", "i", 0),
    "hasFolder": ("iss", "b", True),
    "hasEntry": ("isss", "b", True),
    "readPassword": ("isss", "s", None),
    "writePassword": ("issss", "i", 0),
}


def wait(wanted, again_ms=None, patience_s=PATIENCE_S):
    """Lets signals in until one of them brings what is wanted; or looks again and again."""
    late = []
    timers = [GLib.timeout_add_seconds(patience_s, lambda: late.append(True) or True)]
    if again_ms:
        timers.append(GLib.timeout_add(again_ms, lambda: True))
    while not wanted():
        GLib.MainContext.default().iteration(True)
        if late:
            raise TimeoutError("what is waited for does not come")
    for timer in timers:
        GLib.source_remove(timer)


class Akonadi:
    """An address book of the DAV resource, and the server that keeps what it brought."""

    def __init__(self):
        self.bus = Gio.bus_get_sync(Gio.BusType.SESSION)
        self.password = ""
        # What the resource told of itself since the last command.
        self.statuses = []
        self.serve_wallet()
        self.control = subprocess.Popen(["akonadi_control"], stdin=subprocess.DEVNULL)
        self.bus.signal_subscribe(
            None, MANAGER, "agentInstanceStatusChanged", None, None, 0, self.on_status
        )
        for name in ("org.freedesktop.Akonadi", CONTROL):
            wait(lambda: self.is_there(name), again_ms=50)

    def serve_wallet(self):
        def argument(kind, direction):
            return f'<arg type="{kind}" direction="{direction}"/>'

        methods = "".join(
            f'<method name="{name}">'
            + "".join(argument(it, "in") for it in given)
            + argument(returned, "out")
            + "</method>"
            for name, (given, returned, _) in WALLET.items()
        )
        xml = f'<node><interface name="org.kde.KWallet">{methods}</interface></node>'
        interface = Gio.DBusNodeInfo.new_for_xml(xml).interfaces[0]
        self.bus.register_object("/modules/kwalletd5", interface, self.on_wallet, None, None)
        Gio.bus_own_name_on_connection(self.bus, "org.kde.kwalletd5", 0, None, None)

    def on_wallet(self, _bus, _sender, _path, _interface, method, _given, invocation):
        _, kind, answer = WALLET[method]
        answer = self.password if answer is None else answer
        invocation.return_value(GLib.Variant(f"({kind})", (answer,)))

    def on_status(self, _bus, _sender, _path, _interface, _signal, given):
        instance, status, message = given.unpack()
        if instance.startswith(AGENT):
            self.statuses.append([status, message])

    def call(self, to, path, interface, method, kinds="", *given):
        """Calls while signals and calls for the wallet come in."""
        answers = []
        parameters = GLib.Variant(f"({kinds})", given)
        self.bus.call(
            to, path, interface, method, parameters, None, 0, PATIENCE_S * 1000, None,
            lambda bus, it: answers.append(bus.call_finish(it).unpack()),
        )
        wait(lambda: answers)
        return answers[0]

    def is_there(self, name):
        bus = "org.freedesktop.DBus"
        return self.call(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", "s", name)[0]

    def manage(self, method, kinds, *given):
        return self.call(CONTROL, "/AgentManager", MANAGER, method, kinds, *given)

    def add_address_book(self, url, user, password):
        self.password = password
        for _ in range(3):
            try:
                return self.set_up(url, user)
            except TimeoutError:
                # On a loaded machine it sometimes crashes as it ends for the first time, and stays away.
                self.manage("removeAgentInstance", "s", self.instance)
        raise TimeoutError("the resource cannot be set up")

    def set_up(self, url, user):
        (self.instance,) = self.manage("createAgentInstance", "s", AGENT)
        resource = f"org.freedesktop.Akonadi.Resource.{self.instance}"
        wait(lambda: self.is_there(resource), again_ms=50)
        for method, kind, value in [
            ("setDefaultUsername", "s", user),
            ("setDisplayName", "s", "at home"),
            ("setRefreshInterval", "i", -1),
            ("setRemoteUrls", "as", [f"$default$|CardDav|{url}"]),
            ("setSettingsVersion", "i", 3),
        ]:
            self.call(resource, "/Settings", SETTINGS, method, kind, value)
        self.call(resource, "/Settings", SETTINGS, "save")
        self.restart()

    def restart(self):
        """As after a new login."""
        resource = f"org.freedesktop.Akonadi.Resource.{self.instance}"
        back = []
        bus = "org.freedesktop.DBus"
        self.bus.signal_subscribe(
            bus, bus, "NameOwnerChanged", None, resource, 0,
            lambda *signal: signal[5].unpack()[2] and back.append(True),
        )
        self.manage("restartAgentInstance", "s", self.instance)
        wait(lambda: back, patience_s=PATIENCE_S // 3)

    def change_password(self, password):
        """Puts another one into the wallet, which is read when the resource starts."""
        self.password = password
        self.restart()

    def count(self):
        query = "SELECT count(*) FROM pimitemtable WHERE remoteid IS NOT NULL"
        return self.items(query)[0][0]

    def synchronize(self):
        """Returns what the resource says once it does nothing more."""
        self.statuses.clear()
        self.manage("agentInstanceSynchronize", "s", self.instance)
        wait(lambda: self.statuses and self.statuses[-1][0] != RUNNING)
        return self.statuses[-1]

    def work_online(self):
        """What KDE does of itself five minutes after a failure, and a person may choose before."""
        self.manage("setAgentInstanceOnline", "sb", self.instance, True)

    def items(self, query, *given):
        file = os.environ["HOME"] + "/.local/share/akonadi/akonadi.db"
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            return database.execute(query, given).fetchall()
        finally:
            database.close()

    def card(self, name):
        """A card as Akonadi keeps it, None if it does not."""
        query = """SELECT data, storage FROM parttable
            JOIN pimitemtable ON pimitemtable.id = pimitemid
            JOIN parttypetable ON parttypetable.id = parttypeid
            WHERE remoteid LIKE ? AND parttypetable.name = 'RFC822'"""
        found = self.items(query, f"%/{name}")
        if not found:
            return None
        data, is_elsewhere = found[0]
        if is_elsewhere:
            folder = os.environ["HOME"] + "/.local/share/akonadi/file_db_data"
            (file,) = glob.glob(f"{folder}/**/{data.decode()}", recursive=True)
            with open(file, "rb") as content:
                data = content.read()
        return data.decode()

    def edit(self, *words):
        """Has the editor do it, which the test has built of editor.cpp."""
        subprocess.run([os.environ["HOME"] + "/editor", *words], check=True)

    def add(self, name, email):
        """Returns what the new card is called once it is at home."""
        query = "SELECT id FROM collectiontable WHERE remoteid LIKE '%/contacts/'"
        ((book,),) = self.items(query)
        query = """SELECT remoteid FROM pimitemtable WHERE collectionid = ?
            AND remoteid IS NOT NULL AND NOT dirty ORDER BY id DESC LIMIT 1"""
        before = self.items(query, book)
        self.edit("add", str(book), name, email)
        wait(lambda: self.items(query, book) != before, again_ms=50)
        return self.items(query, book)[0][0].rpartition("/")[2]

    def note(self, name, text):
        self.edit("note", self.item(name), text)

    def remove(self, name):
        self.edit("remove", self.item(name))

    def look(self):
        """Has the resource go on with what it has to tell home: of itself it sometimes waits."""
        self.synchronize()

    def item(self, name):
        ((item,),) = self.items("SELECT id FROM pimitemtable WHERE remoteid LIKE ?", f"%/{name}")
        return str(item)

    def synchronize_until(self, count):
        """Synchronizes, as often as needed, until there are so many cards."""
        try:
            wait(lambda: self.synchronize() and self.count() == count, again_ms=50)
        except TimeoutError:
            raise TimeoutError(f"not {count} cards: {self.collections()}") from None

    def collections(self):
        """What Akonadi has of the server, and how many cards in each."""
        query = """SELECT collectiontable.id, parentid, collectiontable.remoteid, count(pimitemtable.id)
            FROM collectiontable LEFT JOIN pimitemtable ON collectionid = collectiontable.id
            GROUP BY collectiontable.id"""
        return self.items(query)


def main():
    with os.fdopen(3, "w", buffering=1) as answers:
        akonadi = Akonadi()
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            answer = getattr(akonadi, command)(*arguments)
            answers.write(json.dumps(answer) + "\n")


main()
