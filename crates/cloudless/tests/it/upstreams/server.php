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
    new Sabre\DAV\FS\Directory("$folder/uploads"),
]);
$server->setBaseUri('/remote.php/dav/');
$server->addPlugin(new Sabre\DAV\Auth\Plugin(new Passwords(), 'SabreDAV'));
$server->addPlugin(new Sabre\CardDAV\Plugin());
$server->addPlugin(new Sabre\DAVACL\Plugin());
// The parts of an upload, put together where its `.file` is moved to.
$server->subscribeEvent('beforeMethod', function ($method, $uri) use ($server, $folder) {
    if ($method !== 'MOVE' || !preg_match('#^(uploads/[a-z0-9]+)/\.file$#', $uri, $found)) {
        return true;
    }
    $place = $server->calculateUri($server->httpRequest->getHeader('Destination'));
    if (!preg_match('#^files/[a-z]+$#', $place)) {
        throw new Sabre\DAV\Exception\Forbidden('no place for a file');
    }
    $whole = implode('', array_map('file_get_contents', glob("$folder/$found[1]/*")));
    if (strlen($whole) !== (int) $server->httpRequest->getHeader('OC-Total-Length')) {
        throw new Sabre\DAV\Exception\BadRequest('parts are missing');
    }
    file_put_contents("$folder/$place", $whole);
    $server->tree->delete($found[1]);
    $server->httpResponse->setHeader('Content-Length', '0');
    $server->httpResponse->sendStatus(201);
    return false;
});
$server->exec();
