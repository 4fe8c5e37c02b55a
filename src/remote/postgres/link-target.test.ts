/** Tests of connection strings: what they mean, what is refused, and that no password shows. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test } from 'node:test';
import { Failure } from '../../core/failure.ts';
import { describeAddress, parseConnectionString, type LinkTarget } from './link-target.ts';

function shown(target: LinkTarget): string {
  return [target.user, target.password?.reveal() ?? '-', target.addresses.map(describeAddress).join(','), target.database, target.tls.mode].join(' ');
}

const understood: readonly (readonly [text: string, expected: string])[] = [
  ['postgres://ada:secret@db.example.org:6543/shop?sslmode=verify-full', 'ada secret db.example.org:6543 shop verify-full'],
  ['postgresql://ada@localhost', 'ada - localhost:5432 ada prefer'],
  ['postgres://ada:p%40ss%3Aw%2Ford%25@h/d', 'ada p@ss:w/ord% h:5432 d prefer'],
  ['postgres://ada:secret@[::1]:7000/d', 'ada secret [::1]:7000 d prefer'],
  ['postgres://ada@/d?host=/var/run/postgresql', 'ada - /var/run/postgresql/.s.PGSQL.5432 d prefer'],
  ['postgres://ada@%2Ftmp%2Fpg:6000/d', 'ada - /tmp/pg/.s.PGSQL.6000 d prefer'],
  ['postgres://host/d?user=ada&password=p', 'ada p host:5432 d prefer'],
  ['postgres:///d?user=ada', 'ada - localhost:5432 d prefer'],
  ['postgres://ada:p@h/my%20db?sslmode=disable', 'ada p h:5432 my db disable'],
  ['postgres://ada:a+b@h/d?password=c+d', 'ada c+d h:5432 d prefer'],
  ['postgres://ada@a,b:6000,[::1]:7/d', 'ada - a:5432,b:6000,[::1]:7 d prefer'],
  ['postgres://ada@/d?host=a,/run/pg&port=6000', 'ada - a:6000,/run/pg/.s.PGSQL.6000 d prefer'],
  ['postgres://ada@db.example.org/d?hostaddr=10.0.0.7', 'ada - db.example.org:5432 (10.0.0.7) d prefer'],
  ['postgres://ada@h/d?sslmode=require&sslrootcert=/ca.pem', 'ada - h:5432 d verify-ca'],
  ['postgres://ada@h/d?sslrootcert=system', 'ada - h:5432 d verify-full'],
  ['postgres://ada@h/d?ssl=true', 'ada - h:5432 d require'],
  ["host=h user = ada password='p w\\'x\\\\' dbname=d", "ada p w'x\\ h:5432 d prefer"],
  ["  user=ada\n host='' password=a\\ b", 'ada a b localhost:5432 ada prefer'],
  ['host=/run/postgresql/ user=ada', 'ada - /run/postgresql/.s.PGSQL.5432 ada prefer'],
  ['hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=ada', 'ada - 10.0.0.1:1,10.0.0.2:2 ada prefer'],
];
for (const [text, expected] of understood) {
  test(`${text} is ${expected}`, () => { assert.equal(shown(parseConnectionString(text)), expected); });
}

const refused: readonly (readonly [text: string, why: string])[] = [
  ['mysql://ada:hunter2@h/d', 'another scheme'],
  ['host=h password=hunter2', 'keywords without a user'],
  ['host=h user=ada password=hunter2 x', 'a word that is no keyword=value'],
  ["host=h user=ada password='hunter2", 'a quote that is not closed'],
  ['hunter2', 'a bare word'],
  ['postgres://:hunter2@h/d', 'no user'],
  ['postgres://ada:hunter2#x@h/d', 'an unescaped # that cuts the password'],
  ['postgres://ada:hunter2%@h/d', 'a broken escape in the password'],
  ['postgres://ada:hunter2@h:99999/d', 'a port out of range'],
  ['postgres://ada:hunter2@h/d?port=0', 'port zero'],
  ['postgres://ada:hunter2@h/d?sslmode=allow', 'an sslmode that is not offered'],
  ['postgres://ada:hunter2@a,b:1,c:2/d?port=1,2', 'more hosts than ports'],
  ['postgres://ada:hunter2@a,b/d?hostaddr=10.0.0.1', 'more hosts than addresses'],
  ['postgres://ada:hunter2@a/d?hostaddr=db.example.org', 'a name as address'],
  [`postgres://ada:hunter2@${'h,'.repeat(40)}h/d`, 'more hosts than anybody has'],
  ['postgres://ada:hunter2@%40abstract/d', 'an abstract socket'],
  ['postgres://ada:hunter2@h/d?sslmode=require&sslrootcert=system', 'any public issuer and no check of the name'],
  ['postgres://ada:hunter2@h/d?sslnegotiation=direct', 'direct TLS that may be left out'],
  ['postgres://ada:hunter2@h/d?sslmode=disable&channel_binding=require', 'a channel binding without a channel'],
  ['postgres://ada:hunter2@h/d?sslcert=/c.pem', 'a certificate without its key'],
  ['postgres://ada:hunter2@h/d?sslpassword=hunter2', 'a password for a key that is not named'],
  ['postgres://ada:hunter2@h/d?target_session_attrs=writable', 'a kind of server that does not exist'],
  ['postgres://ada:hunter2@h/d?require_auth=md5,!password', 'login methods both named and excluded'],
  ['postgres://ada:hunter2@h/d?require_auth=gss', 'a login method that is not spoken'],
  ['postgres://ada:hunter2@h/d?client_encoding=SJIS', 'another encoding'],
  ['postgres://ada:hunter2@h/d?gssencmode=require', 'GSSAPI'],
  ['postgres://ada:hunter2@h/d?connect_timeout=soon', 'a time-out that is no number'],
  ['postgres://ada:hunter2@h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2', 'no version of TLS left'],
];
for (const [text, why] of refused) {
  test(`a connection string with ${why} is refused without repeating its password`, () => {
    assert.throws(() => parseConnectionString(text), (error) => {
      assert.ok(error instanceof Failure && error.code === 'config_invalid');
      assert.doesNotMatch(inspect(error, { depth: 10 }).replace(/\n\s+at .*/g, ''), /hunter2/);
      return true;
    });
  });
}

for (const keyword of ['service', 'servicefile', 'requirepeer', 'krbsrvname', 'gsslib', 'replication', 'sslcrldir', 'sslkeylogfile', 'tcp_user_timeout', 'keepalives_count', 'scram_client_key', 'max_protocol_version', 'hots']) {
  test(`${keyword} is refused by its name in both spellings`, () => {
    for (const text of [`postgres://ada:hunter2@h/d?${keyword}=hunter2`, `user=ada password=hunter2 ${keyword}=hunter2`]) {
      assert.throws(() => parseConnectionString(text), (error) => {
        assert.ok(error instanceof Failure && error.code === 'config_invalid');
        assert.match(error.message, new RegExp(`"${keyword}" is not supported`));
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    }
  });
}

test('what a string asks for beside the place is kept', () => {
  const target = parseConnectionString('host=a,b user=ada target_session_attrs=read-write load_balance_hosts=random connect_timeout=1 channel_binding=require'
    + ' sslmode=verify-full sslcert=/c sslkey=/k sslpassword=hunter2 sslnegotiation=direct options=\'-c geqo=off\' application_name=x require_auth=!md5,!password keepalives=0');
  assert.equal(target.sessionAttributes, 'read-write');
  assert.equal(target.isBalanced, true);
  assert.equal(target.connectMsMax, 2_000, 'one second is taken for two, as in libpq');
  assert.equal(target.channelBinding, 'require');
  assert.equal(target.tls.negotiation, 'direct');
  assert.equal(target.tls.certificate?.keyPassword?.reveal(), 'hunter2');
  assert.deepEqual([...target.parameters], [['application_name', 'x'], ['options', '-c geqo=off']]);
  assert.deepEqual([...target.loginMethods ?? []], ['none', 'scram-sha-256']);
  assert.equal(target.keepAlive.isOn, false);
  assert.doesNotMatch(inspect(target, { depth: 10, showHidden: true }) + JSON.stringify(target), /hunter2/);
});

test('a target that is printed, logged or copied as JSON does not show its password', () => {
  const target = parseConnectionString('postgres://ada:hunter2@h/d');
  for (const text of [inspect(target, { depth: 10, showHidden: true }), JSON.stringify(target), String(target.password)]) assert.doesNotMatch(text, /hunter2/);
});
