/**
 * Rows of the statement table: what reaches beyond the rows and tables of the database. Privileges and roles, the server,
 * other databases, replication, what loads code or connects elsewhere, maintenance and locks, and code whose body nobody
 * has read. Hardly anything here can be judged by its text, so most of it is CRITICAL (H75).
 */
import type { EffectKind, Level, Recoverability } from '../risk.ts';
import { joinAll, joinRisks } from '../risk.ts';
import { objectKind, relationKinds } from './object-kinds.ts';
import { effect, mentionNamed, nameOf, risk, useOf } from './own-reading.ts';
import type { OwnReading, StatementRow } from './own-reading.ts';
import { catalogChange, ddl, dropRisk } from './statements-schema.ts';
import { flagIn, namesOf, nodeIn, nodesIn, numberIn, rangeVarNames, stringIn, treeIn } from './tree.ts';
import type { Tree } from './tree.ts';

export const serverRows: Readonly<Record<string, StatementRow>> = {
  ...privilegeRows(),
  ...replicationRows(),
  ...outsideRows(),
  ...maintenanceRows(),
  DoStmt: (tree) => {
    const block = blockOf(tree);
    const own = opaque('do.block', 'It runs a block of code that can build and run any statement.', 'block', languageOf(tree));
    return { risk: own, ...(block === undefined ? {} : { block }) };
  },
  CallStmt: () => ({ risk: opaque('call.procedure', 'It runs a procedure, which may do anything and commit in between.', 'procedure') }),
};

function critical(kind: EffectKind, object: string, field: string, rule: string, message: string, lost?: Recoverability): StatementRow {
  return (tree) => ({ risk: risk('CRITICAL', rule, message, [effect(kind, object, stringIn(tree, field))], lost), changes: catalogChange });
}

function privilegeRows(): Readonly<Record<string, StatementRow>> {
  const role = (message: string): StatementRow => (tree) => ({
    risk: risk('CRITICAL', 'privilege.role', message, [effect('privilege', 'role', stringIn(tree, 'role') ?? stringIn(treeIn(tree, 'role') ?? {}, 'rolename'))]), changes: catalogChange,
  });
  return {
    GrantStmt: grant,
    GrantRoleStmt: (tree) => ({
      risk: risk('CRITICAL', 'privilege.membership', 'It changes who is a member of a role.',
        nodesIn(tree, 'granted_roles').map((node) => effect('privilege', 'role', stringIn(node.tree, 'priv_name') ?? stringIn(node.tree, 'rolename')))),
      changes: catalogChange,
    }),
    AlterDefaultPrivilegesStmt: () => ({ risk: risk('CRITICAL', 'privilege.default', 'It changes who may use what is made later.', [effect('privilege', 'default privileges')]), changes: catalogChange }),
    CreateRoleStmt: role('It makes a role.'),
    AlterRoleStmt: role('It changes what a role may do or how it logs in.'),
    AlterRoleSetStmt: (tree, context) => ({ ...role('It changes the settings of every later session of a role.')(tree, context), inner: 'stored' }),
    DropRoleStmt: () => ({ risk: risk('CRITICAL', 'privilege.role', 'It drops roles.', [effect('drop', 'role'), effect('privilege', 'role')]), changes: catalogChange }),
    ReassignOwnedStmt: () => ({ risk: risk('CRITICAL', 'privilege.owner', 'It gives everything that a role owns to another.', [effect('privilege', 'role'), effect('privilege', 'table')]), changes: catalogChange }),
    DropOwnedStmt: () => ({
      risk: risk('CRITICAL', 'drop.owned', 'It drops everything that a role owns, and its privileges.', [effect('drop', 'schema'), effect('drop', 'table'), effect('privilege', 'role')], 'point-in-time'),
      changes: catalogChange,
    }),
    SecLabelStmt: (tree) => ({ risk: risk('CRITICAL', 'privilege.label', 'It changes a security label.', [effect('privilege', objectKind(stringIn(tree, 'objtype')).word)]), changes: catalogChange }),
  };
}

function grant(tree: Tree): OwnReading {
  const { word } = objectKind(stringIn(tree, 'objtype'));
  const objects = nodesIn(tree, 'objects');
  // ON ALL TABLES IN SCHEMA names schemas, and means every table in them.
  const isWholeSchema = stringIn(tree, 'targtype') === 'ACL_TARGET_ALL_IN_SCHEMA';
  const effects = objects.map((node) => (isWholeSchema ? effect('privilege', word, undefined, `all in schema ${namesOf(node).join('.')}`) : effect('privilege', word, namesOf(node).join('.'))));
  const verb = flagIn(tree, 'is_grant') ? 'gives' : 'takes';
  const own = risk('CRITICAL', flagIn(tree, 'is_grant') ? 'privilege.grant' : 'privilege.revoke', `It ${verb} privileges.`, effects.length > 0 ? effects : [effect('privilege', word)]);
  return { risk: own, uses: objects.filter(({ type }) => type === 'RangeVar').flatMap((node) => useOf(node.tree)), changes: catalogChange };
}

function replicationRows(): Readonly<Record<string, StatementRow>> {
  const row = (object: string, field: string, message: string): StatementRow => critical('replication', object, field, `replication.${object}`, message);
  return {
    CreatePublicationStmt: publication('It offers tables to other servers.'),
    AlterPublicationStmt: publication('It changes which tables other servers get.'),
    CreateSubscriptionStmt: row('subscription', 'subname', 'It fetches tables from another server.'),
    AlterSubscriptionStmt: row('subscription', 'subname', 'It changes what is fetched from another server.'),
    DropSubscriptionStmt: row('subscription', 'subname', 'It ends the replication from another server.'),
  };
}

/** Those of a schema, or of the whole database, are not named. */
function publication(message: string): StatementRow {
  return (tree) => {
    const isWide = flagIn(tree, 'for_all_tables') || nodesIn(tree, 'pubobjects').some((one) => stringIn(one.tree, 'pubobjtype') !== 'PUBLICATIONOBJ_TABLE');
    const effects = [effect('replication', 'publication', stringIn(tree, 'pubname')), ...(isWide ? [effect('read', 'table')] : [])];
    return { risk: risk('CRITICAL', 'replication.publication', message, effects), changes: catalogChange };
  };
}

function outsideRows(): Readonly<Record<string, StatementRow>> {
  const server = (object: string, field: string, message: string): StatementRow => critical('server', object, field, `server.${object.replaceAll(' ', '-')}`, message);
  const network = (object: string, field: string, message: string): StatementRow => critical('network', object, field, `network.${object.replaceAll(' ', '-')}`, message);
  const made = (level: Exclude<Level, 'SAFE'>, kind: EffectKind, object: string, field: string): StatementRow => (tree) => ddl(level, kind, object, stringIn(tree, field) ?? '');
  return {
    AlterSystemStmt: (tree) => ({ risk: risk('CRITICAL', 'server.setting', 'It changes the configuration of the whole server.', [effect('server', 'setting', stringIn(treeIn(tree, 'setstmt') ?? {}, 'name'))]), inner: 'stored' }),
    LoadStmt: critical('program', 'library', 'filename', 'server.load', 'It loads a library into the server.'),
    CreatedbStmt: (tree) => ddl('CRITICAL', 'create', 'database', stringIn(tree, 'dbname') ?? ''),
    AlterDatabaseStmt: server('database', 'dbname', 'It changes a database.'),
    AlterDatabaseSetStmt: (tree, context) => ({ ...server('database', 'dbname', 'It changes the settings of every later session of a database.')(tree, context), inner: 'stored' }),
    AlterDatabaseRefreshCollStmt: server('database', 'dbname', 'It changes a database.'),
    DropdbStmt: (tree) => ({ risk: dropRisk('OBJECT_DATABASE', stringIn(tree, 'dbname') ?? '', false), changes: catalogChange }),
    CreateTableSpaceStmt: server('tablespace', 'tablespacename', 'It makes a tablespace.'),
    DropTableSpaceStmt: server('tablespace', 'tablespacename', 'It drops a tablespace.'),
    AlterTableSpaceOptionsStmt: server('tablespace', 'tablespacename', 'It changes a tablespace.'),
    AlterTableMoveAllStmt: server('tablespace', 'orig_tablespacename', 'It moves every table of a tablespace.'),
    CreateEventTrigStmt: server('event trigger', 'trigname', 'It makes code run at every such command from now on.'),
    AlterEventTrigStmt: server('event trigger', 'trigname', 'It switches an event trigger on or off.'),
    CreateExtensionStmt: made('CRITICAL', 'create', 'extension', 'extname'),
    AlterExtensionStmt: made('CRITICAL', 'alter', 'extension', 'extname'),
    AlterExtensionContentsStmt: (tree) => {
      const isRelation = relationKinds.has(stringIn(tree, 'objtype') ?? '');
      return { ...ddl('CRITICAL', 'alter', 'extension', stringIn(tree, 'extname') ?? ''), relations: isRelation ? [mentionNamed(namesOf(nodeIn(tree, 'object')), 'alter')] : [] };
    },
    CreatePLangStmt: made('CRITICAL', 'create', 'language', 'plname'),
    CreateAmStmt: made('CRITICAL', 'create', 'access method', 'amname'),
    CreateTransformStmt: () => ddl('CRITICAL', 'create', 'transform'),
    CreateFdwStmt: network('foreign-data wrapper', 'fdwname', 'It makes a way to reach other systems.'),
    AlterFdwStmt: network('foreign-data wrapper', 'fdwname', 'It changes a way to reach other systems.'),
    CreateForeignServerStmt: network('foreign server', 'servername', 'It names another system to be reached.'),
    AlterForeignServerStmt: network('foreign server', 'servername', 'It changes which other system is reached.'),
    CreateUserMappingStmt: network('user mapping', 'servername', 'It changes as whom another system is reached.'),
    AlterUserMappingStmt: network('user mapping', 'servername', 'It changes as whom another system is reached.'),
    DropUserMappingStmt: network('user mapping', 'servername', 'It changes as whom another system is reached.'),
    ImportForeignSchemaStmt: network('foreign server', 'server_name', 'It asks another system for its tables and makes foreign tables of them.'),
    CreateForeignTableStmt: (tree) => {
      const relation = treeIn(treeIn(tree, 'base') ?? {}, 'relation');
      return {
        risk: risk('CRITICAL', 'network.foreign-table', 'It makes a table whose rows come from another system or a program.', [effect('create', 'foreign table', nameOf(relation)), effect('network', 'foreign table', nameOf(relation))]),
        uses: useOf(relation), changes: catalogChange,
      };
    },
  };
}

const lockModes = [
  'NONE', 'ACCESS SHARE', 'ROW SHARE', 'ROW EXCLUSIVE', 'SHARE UPDATE EXCLUSIVE', 'SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE',
] as const;

/** Allowed even in a READ ONLY transaction (H73). */
function maintenanceRows(): Readonly<Record<string, StatementRow>> {
  const maintain = (rule: string, message: string, relation: Tree | undefined): OwnReading => ({
    risk: risk('HIGH', `maintenance.${rule}`, message, [effect('maintenance', 'table', nameOf(relation))]), uses: useOf(relation, 'maintain'),
  });
  return {
    LockStmt: (tree) => {
      const relations = nodesIn(tree, 'relations').map((node) => node.tree);
      const mode = lockModes[numberIn(tree, 'mode')] ?? 'ACCESS EXCLUSIVE';
      return { risk: risk('HIGH', 'lock.table', `It locks tables in mode ${mode} until the transaction ends.`, relations.map((one) => effect('lock', 'table', nameOf(one), mode))), uses: relations.flatMap((one) => useOf(one, 'lock')) };
    },
    VacuumStmt: (tree) => {
      const relations = nodesIn(tree, 'rels').map((node) => treeIn(node.tree, 'relation') ?? {});
      const rule = flagIn(tree, 'is_vacuumcmd') ? 'vacuum' : 'analyze';
      const each = relations.map((one) => maintain(rule, 'It works through tables and their statistics.', rangeVarNames(one).length === 0 ? undefined : one));
      if (each.length === 0) return maintain(rule, 'It works through every table of the database.', undefined);
      return { risk: joinAll(each.map((one) => one.risk)), uses: each.flatMap((one) => one.uses ?? []) };
    },
    ClusterStmt: (tree) => maintain('cluster', 'It rewrites tables in the order of an index, and locks them meanwhile.', treeIn(tree, 'relation')),
    ReindexStmt: (tree) => maintain('reindex', 'It builds indexes anew, and locks out writers meanwhile.', treeIn(tree, 'relation')),
    CheckPointStmt: () => ({ risk: risk('HIGH', 'server.checkpoint', 'It makes the server write everything to disk at once.', [effect('server', 'checkpoint')]) }),
  };
}

function opaque(rule: string, message: string, object: string, language?: string): ReturnType<typeof risk> {
  const own = risk('HIGH', rule, message, [effect('unknown', object)], 'none');
  if (language === undefined || language === 'plpgsql') return own;
  return joinRisks(own, risk('CRITICAL', 'do.language', 'The block is written in a language other than PL/pgSQL.', [effect('program', 'language', language)]));
}

function languageOf(tree: Tree): string | undefined {
  const option = nodesIn(tree, 'args').find((arg) => stringIn(arg.tree, 'defname') === 'language');
  return option === undefined ? undefined : namesOf(nodeIn(option.tree, 'arg'))[0]?.toLowerCase();
}


function blockOf(tree: Tree): string | undefined {
  const option = nodesIn(tree, 'args').find((arg) => stringIn(arg.tree, 'defname') === 'as');
  return option === undefined ? undefined : namesOf(nodeIn(option.tree, 'arg'))[0];
}
