<?php
// A WebDAV and CardDAV server such as Nextcloud has inside, with its redirects.
error_reporting(E_ALL & ~E_DEPRECATED);
ini_set('display_errors', '0');
$folder = getenv('CLOUDLESS_TEST_FOLDER');
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path === '/.well-known/carddav' || $path === '/.well-known/caldav') {
    header('Location: /remote.php/dav/', true, 301);
    exit;
}
if ($path === '/whoami') {
    header('Content-Type: application/json');
    setcookie('session', 'abc', ['path' => '/', 'secure' => true, 'httponly' => true]);
    echo json_encode($_SERVER);
    exit;
}
require_once 'Sabre/autoload.php';
class Passwords extends Sabre\DAV\Auth\Backend\AbstractBasic {
    protected function validateUserPass($user, $password) {
        return $user === 'admin' && $password === 'secret';
    }
}
$pdo = new PDO("sqlite:$folder/db.sqlite");
$pdo->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
$principals = new Sabre\DAVACL\PrincipalBackend\PDO($pdo);
$books = new Sabre\CardDAV\Backend\PDO($pdo);
$server = new Sabre\DAV\Server([
    new Sabre\DAVACL\PrincipalCollection($principals),
    new Sabre\CardDAV\AddressBookRoot($principals, $books),
    new Sabre\DAV\FS\Directory("$folder/files"),
]);
$server->setBaseUri('/remote.php/dav/');
$server->addPlugin(new Sabre\DAV\Auth\Plugin(new Passwords(), 'SabreDAV'));
$server->addPlugin(new Sabre\CardDAV\Plugin());
$server->addPlugin(new Sabre\DAVACL\Plugin());
$server->exec();
