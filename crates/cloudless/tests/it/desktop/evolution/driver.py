"""Does with Evolution Data Server what a person does in Evolution: reads a command of JSON a line from
standard input, and writes an answer a line to file descriptor 3."""

import base64
import json
import os
import sys

import gi

gi.require_version("EBook", "1.2")
gi.require_version("EBookContacts", "1.2")
gi.require_version("EDataServer", "1.2")
from gi.repository import EBook, EBookContacts, EDataServer, Gio, GLib, GObject

# Long enough for a loaded machine.
PATIENCE_S = 60
NO_WAIT = 0xFFFFFFFF
ACCEPT_PERMANENTLY = EDataServer.TrustPromptResponse.ACCEPT
AWAITING_CREDENTIALS = EDataServer.SourceConnectionStatus.AWAITING_CREDENTIALS
CONTACTS = EDataServer.WebDAVDiscoverSupports.CONTACTS
# EVCardFormat is not in the introspected part of the library.
VCARD_30 = 1


def wait(wanted):
    """Lets signals in until one of them brings what is wanted."""
    late = []
    limit = GLib.timeout_add_seconds(PATIENCE_S, lambda: late.append(True))
    while not wanted():
        GLib.MainContext.default().iteration(True)
        if late:
            raise TimeoutError("the signal that is waited for does not come")
    GLib.source_remove(limit)


def credentials(user, password):
    given = EDataServer.NamedParameters.new()
    given.set("username", user)
    given.set("password", password)
    return given


def told(operation):
    """What an operation gives, or what it tells the user."""
    try:
        return operation()
    except GLib.Error as error:
        return {"error": error.message}


class Evolution:
    """A form for a new address book, and then that address book."""

    def __init__(self):
        self.registry = EDataServer.SourceRegistry.new_sync(None)
        # What the user is told, oldest first.
        self.errors = []
        # How often the address book has begun to wait for a password, and how often it was given.
        self.questions = 0
        self.answers = 0
        # What the list of contacts shows.
        self.cards = {}

    def type(self, url, user):
        self.user = user
        self.form = self.source(url)
        self.trusted = self.form.get_extension("WebDAV Backend")

    def source(self, url):
        source = EDataServer.Source.new(None, None)
        source.set_display_name("at home")
        source.get_extension("Authentication").set_user(self.user)
        source.get_extension("Security").set_secure(True)
        uri = GLib.Uri.parse(url, GLib.UriFlags.NONE)
        source.get_extension("WebDAV Backend").set_uri(uri)
        return source

    def find_address_books(self, password):
        def find():
            given = credentials(self.user, password)
            answer = EDataServer.webdav_discover_sources_sync(self.form, None, CONTACTS, given, None)
            return [[it.display_name, it.href] for it in answer.out_discovered_sources]

        return told(find)

    def doubtful_certificate(self):
        """What the question about a certificate shows."""
        session = EDataServer.WebDAVSession.new(self.form)
        session.set_credentials(credentials(self.user, ""))
        told(lambda: session.options_sync(None, None))
        is_doubtful, pem, errors = session.get_ssl_error_details()
        return {"pem": pem, "errors": errors.value_nicks} if is_doubtful else None

    def accept(self, host, pem):
        certificate = Gio.TlsCertificate.new_from_pem(pem, -1)
        self.trusted.update_ssl_trust(host, certificate, ACCEPT_PERMANENTLY)

    def add_address_book(self, url):
        book = self.source(url)
        book.get_extension("WebDAV Backend").set_ssl_trust(self.trusted.get_ssl_trust())
        book.get_extension("Address Book").set_backend_name("carddav")
        book.get_extension("Offline").set_stay_synchronized(True)
        self.registry.commit_source_sync(book, None)
        wait(lambda: self.registry.ref_source(book.get_uid()))
        self.book = self.registry.ref_source(book.get_uid())
        self.book.connect("notify::connection-status", self.on_status)
        self.opened = []
        EBook.BookClient.connect(self.book, NO_WAIT, None, self.on_opened)

    def on_status(self, book, _property):
        if book.get_connection_status() == AWAITING_CREDENTIALS:
            self.questions += 1

    def on_opened(self, _object, result):
        self.opened.append(EBook.BookClient.connect_finish(result))

    def wait_for_question(self):
        """Returns once a password is asked for."""
        wait(lambda: self.questions > self.answers)
        self.answers = self.questions

    def enter(self, password):
        self.book.invoke_authenticate_sync(credentials(self.user, password), None)

    def show(self, count):
        """Opens the address book; returns once it shows so many cards."""
        wait(lambda: self.opened)
        self.client = self.opened[0]
        # The client has a function of its own of the name connect.
        GObject.Object.connect(self.client, "backend-error", self.on_error)
        everything = EBookContacts.BookQuery.any_field_contains("").to_string()
        _, self.view = self.client.get_view_sync(everything, None)
        self.view.connect("objects-added", self.on_cards)
        self.view.connect("objects-modified", self.on_cards)
        self.view.connect("objects-removed", self.on_removed)
        self.view.start()
        wait(lambda: len(self.cards) == count)

    def on_error(self, _client, message):
        self.errors.append(message)

    def on_cards(self, _view, contacts):
        for contact in contacts:
            self.cards[contact.get_property("id")] = contact.to_string(VCARD_30)

    def on_removed(self, _view, uids):
        for uid in uids:
            self.cards.pop(uid, None)

    def refresh(self):
        return told(lambda: self.client.refresh_sync(None))

    def error(self):
        wait(lambda: self.errors)
        return self.errors.pop(0)

    def card(self, uid, text):
        """A card, once this text is in it."""
        wait(lambda: text in self.cards.get(uid, ""))
        return self.cards[uid]

    def wait_until_gone(self, uid):
        wait(lambda: uid not in self.cards)

    def photo(self, uid):
        """A photo, which Evolution keeps in a file of its own."""
        _, contact = self.client.get_contact_sync(uid, None)
        file = Gio.File.new_for_uri(contact.get_property("photo").get_uri())
        return base64.b64encode(file.load_contents(None)[1]).decode()

    def add(self, card):
        contact = EBookContacts.Contact.new_from_vcard(card)
        return told(lambda: self.client.add_contact_sync(contact, 0, None)[1])

    def note(self, uid, note):
        def edit():
            _, contact = self.client.get_contact_sync(uid, None)
            contact.set_property("note", note)
            return self.client.modify_contact_sync(contact, 0, None)

        return told(edit)

    def remove(self, uid):
        return told(lambda: self.client.remove_contact_by_uid_sync(uid, 0, None))


def main():
    with os.fdopen(3, "w", buffering=1) as answers:
        evolution = Evolution()
        for line in sys.stdin:
            command, *arguments = json.loads(line)
            answer = getattr(evolution, command)(*arguments)
            answers.write(json.dumps(answer) + "\n")


main()
