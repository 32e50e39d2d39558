// Does in Thunderbird what a person does there, in its own process. The arguments are the name of a
// command below, what it takes, and whom to call with what came of it.

const [command, ...given] = arguments;
const done = given.pop();
const load = name => ChromeUtils.importESModule(`resource:///modules/${name}.sys.mjs`);
const { CardDAVDirectory } = load("CardDAVDirectory");
const { MailServices } = load("MailServices");
const { VCardProperties, VCardUtils } = load("VCardUtils");

// Marionette turns it off, and nothing is shown to a test without it.
Services.prefs.setBoolPref("signon.rememberSignons", true);

/** Resolves to the subject of the next notification that is wanted. */
function observed(topic, isWanted = () => true) {
  return new Promise(resolve => {
    const observer = subject => {
      if (isWanted(subject)) {
        Services.obs.removeObserver(observer, topic);
        resolve(subject);
      }
    };
    Services.obs.addObserver(observer, topic);
  });
}

/** Resolves to the body of the next request of a method, byte for byte as UTF-8, when it is sent. */
async function sent(method) {
  const isOfMethod = it => it.QueryInterface(Ci.nsIHttpChannel).requestMethod == method;
  const channel = await observed("http-on-modify-request", isOfMethod);
  const { uploadStream } = channel.QueryInterface(Ci.nsIUploadChannel);
  const copy = uploadStream.QueryInterface(Ci.nsICloneableInputStream).clone();
  const reader = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
  reader.setInputStream(copy);
  return new TextDecoder().decode(Uint8Array.from(reader.readByteArray(reader.available())));
}

function book() {
  const { CARDDAV_DIRECTORY_TYPE } = Ci.nsIAbManager;
  const found = MailServices.ab.directories.find(it => it.dirType == CARDDAV_DIRECTORY_TYPE);
  return CardDAVDirectory.forFile(found.fileName);
}

/** Has a change of the address book's go to the server: what was sent, or that it was not taken. */
async function push(change) {
  const body = sent("PUT");
  const failed = observed("addrbook-directory-sync-failed").then(() => ({ failed: true }));
  change();
  // The change itself was told. What comes is the card as the server has it.
  const stored = observed("addrbook-contact-updated").then(card => ({
    uid: card.QueryInterface(Ci.nsIAbCard).UID,
  }));
  return { ...(await Promise.race([stored, failed])), sent: await body };
}

/** Answers the next question for a password. */
async function answerPrompt(password, told) {
  const { document } = await observed("common-dialog-loaded");
  told.push(document.getElementById("infoBody").textContent);
  document.getElementById("password1Textbox").value = password;
  document.querySelector("dialog").acceptDialog();
}

/** Answers the next question about a certificate. */
async function answerDoubt(isAccepted, told) {
  const window = await observed("domwindowopened");
  await new Promise(resolve => window.addEventListener("load", resolve, { once: true }));
  const { document, location } = window;
  told.push(location.href);
  if (!location.href.endsWith("/exceptionDialog.xhtml")) {
    return;
  }
  // Its own listener comes after this one.
  await new Promise(resolve => window.setTimeout(resolve));
  const dialog = document.getElementById("exceptiondialog");
  if (isAccepted) {
    dialog.getButton("extra1").click();
  } else {
    dialog.cancelDialog();
  }
}

/** The window of Address Book, New Address Book, Add CardDAV Address Book. */
async function openForm() {
  const url = "chrome://messenger/content/addressbook/abCardDAVDialog.xhtml";
  const main = Services.wm.getMostRecentWindow("mail:3pane");
  const form = main.openDialog(url, "", "chrome,resizable", {});
  await new Promise(resolve => form.addEventListener("load", resolve, { once: true }));
  return form;
}

const commands = {
  /** What the form says at the end, and what was asked before. */
  async addAddressBook(location, user, password, trust) {
    const told = [];
    const form = await openForm();
    const element = id => form.document.getElementById(`carddav-${id}`);
    element("username").value = user;
    element("location").value = location;
    if (trust != "known") {
      answerDoubt(trust == "accept", told);
    }
    if (trust != "cancel") {
      answerPrompt(password, told);
    }
    const status = () => element("statusArea").getAttribute("status");
    const finished = new Promise(resolve => {
      form.addEventListener("status-changed", () => status() != "loading" && resolve());
    });
    form.document.querySelector("dialog").acceptDialog();
    await finished;
    if (status() == "error") {
      const message = element("statusMessage");
      await form.document.l10n.translateElements([message]);
      const error = message.textContent;
      form.close();
      return { error, told };
    }
    const books = Array.from(element("availableBooks").children, it => it.label);
    const synced = observed("addrbook-directory-synced");
    form.document.querySelector("dialog").acceptDialog();
    await synced;
    return { books, told };
  },

  /** Syncs; a password is for the case that it is asked for. */
  async sync(password) {
    const told = [];
    if (password) {
      answerPrompt(password, told);
    }
    try {
      await book().syncWithServer();
      return { told };
    } catch (error) {
      return { error: error.message, told };
    }
  },

  count() {
    return book().childCardCount;
  },

  /** What is shown of a card, null if it is not there. */
  shown(uid) {
    if (!book().cards.has(uid)) {
      return null;
    }
    const { displayName, primaryEmail, photoURL } = book().getCard(uid);
    return { name: displayName, email: primaryEmail, photo: photoURL };
  },

  add(vCard) {
    return push(() => book().addCard(VCardUtils.vCardToAbCard(vCard)));
  },

  note(uid, note) {
    const card = book().getCard(uid);
    const properties = VCardProperties.fromVCard(card.getProperty("_vCard", ""));
    properties.clearValues("note");
    properties.addValue("note", note);
    card.setProperty("_vCard", properties.toVCard());
    return push(() => book().modifyCard(card));
  },

  async remove(uid) {
    const isRemoval = it => it.QueryInterface(Ci.nsIHttpChannel).requestMethod == "DELETE";
    const answered = observed("http-on-examine-response", isRemoval);
    book().deleteCards([book().getCard(uid)]);
    return (await answered).responseStatus;
  },

  /** How far it has synced. */
  setToken(token) {
    book().setStringValue("carddav.token", token);
  },

  /** Settings, Passwords. */
  async changePassword(user, password) {
    const logins = await Services.logins.searchLoginsAsync({ origin: origin() });
    const [old] = logins.filter(it => it.username == user);
    const changed = old.clone();
    changed.password = password;
    await Services.logins.modifyLoginAsync(old, changed);
  },
};

function origin() {
  return new URL(book().getStringValue("carddav.url", "")).origin;
}

Promise.resolve()
  .then(() => commands[command](...given))
  .then(
    it => done(it ?? null),
    error => done({ broken: `${error}\n${error.stack}` })
  );
