// Changes one contact as KAddressBook does: with KDE's own classes for contacts, through Akonadi.
//
//   editor add COLLECTION NAME EMAIL
//   editor note ITEM TEXT
//   editor remove ITEM

#include <AkonadiCore/Akonadi/Collection>
#include <AkonadiCore/Akonadi/Item>
#include <AkonadiCore/Akonadi/ItemCreateJob>
#include <AkonadiCore/Akonadi/ItemDeleteJob>
#include <AkonadiCore/Akonadi/ItemFetchJob>
#include <AkonadiCore/Akonadi/ItemFetchScope>
#include <AkonadiCore/Akonadi/ItemModifyJob>
#include <KContacts/KContacts/Addressee>

#include <QCoreApplication>
#include <QTextStream>

using Akonadi::Item;
using KContacts::Addressee;

namespace {

bool succeeds(KJob *job)
{
    if (job->exec()) {
        return true;
    }
    QTextStream(stderr) << job->errorString() << Qt::endl;
    return false;
}

bool add(Akonadi::Collection::Id collection, const QString &name, const QString &email)
{
    Addressee person;
    person.setNameFromString(name);
    person.addEmail(KContacts::Email(email));
    Item item(Addressee::mimeType());
    item.setPayload(person);
    return succeeds(new Akonadi::ItemCreateJob(item, Akonadi::Collection(collection)));
}

bool note(Item::Id id, const QString &text)
{
    auto *fetch = new Akonadi::ItemFetchJob(Item(id));
    fetch->fetchScope().fetchFullPayload();
    if (!succeeds(fetch) || fetch->items().isEmpty()) {
        return false;
    }
    Item item = fetch->items().constFirst();
    if (!item.hasPayload<Addressee>()) {
        QTextStream(stderr) << "no person: " << item.mimeType() << Qt::endl;
        return false;
    }
    auto person = item.payload<Addressee>();
    person.setNote(text);
    item.setPayload(person);
    return succeeds(new Akonadi::ItemModifyJob(item));
}

} // namespace

int main(int argc, char **argv)
{
    QCoreApplication application(argc, argv);
    const QStringList words = QCoreApplication::arguments();
    const QString command = words.value(1);
    const qint64 id = words.value(2).toLongLong();
    bool is_done = false;
    if (command == QLatin1String("add")) {
        is_done = add(id, words.value(3), words.value(4));
    } else if (command == QLatin1String("note")) {
        is_done = note(id, words.value(3));
    } else if (command == QLatin1String("remove")) {
        is_done = succeeds(new Akonadi::ItemDeleteJob(Item(id)));
    }
    return is_done ? 0 : 1;
}
