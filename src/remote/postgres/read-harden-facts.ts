/**
 * Reads from a live database what core/harden needs to know, in one question that any role may ask; what only superusers
 * see is left out for others and said so. It changes nothing. The link must have an empty search_path.
 */
import { Failure } from '../../core/failure.ts';
import { hardenFactsSchema, type HardenFacts } from '../../core/harden/harden-facts.ts';
import type { Link } from './link.ts';

/** `schemas` empty: all that are users' own. Throws Failure. */
export async function readHardenFacts(link: Pick<Link, 'query'>, role: string, schemas: readonly string[]): Promise<HardenFacts> {
  const { rows } = await link.query(factsQuery, [role, JSON.stringify(schemas)]);
  const facts: unknown = JSON.parse(rows[0]?.[0] ?? 'null');
  const hba = await readHba(link, facts);
  const read = hardenFactsSchema.safeParse(typeof facts === 'object' && facts !== null ? { ...facts, hba } : facts);
  if (!read.success) throw new Failure('internal', 'the server answered something unexpected when its roles and rights were asked for', { cause: read.error });
  const missing = schemas.find((name) => !read.data.schemas.some((schema) => schema.name === name));
  if (missing !== undefined) throw new Failure('not_found', `there is no schema "${missing}" in database "${read.data.database}"`);
  return read.data;
}

async function readHba(link: Pick<Link, 'query'>, facts: unknown): Promise<unknown> {
  const isSuperuser = typeof facts === 'object' && facts !== null && 'isSuperuser' in facts && facts.isSuperuser === true;
  if (!isSuperuser) return null;
  const { rows } = await link.query(hbaQuery);
  return JSON.parse(rows[0]?.[0] ?? '[]');
}

const hbaQuery = `SELECT coalesce(json_agg(json_build_object('line', line_number, 'type', coalesce(type, ''), 'databases', coalesce(database, '{}'),
  'users', coalesce(user_name, '{}'), 'address', address, 'method', coalesce(auth_method, ''), 'error', error) ORDER BY line_number), '[]') FROM pg_hba_file_rules`;

/** Extensions whose functions reach files, programs, other servers or the storage itself. */
const reachingExtensions = ['dblink', 'adminpack', 'file_fdw', 'pg_surgery', 'pageinspect', 'pg_prewarm', 'postgres_fdw', 'http', 'plpython3u', 'plperlu', 'pgagent', 'pg_cron'];
const powers = ['pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', 'pg_read_all_data', 'pg_write_all_data', 'pg_database_owner', 'pg_signal_backend', 'pg_maintain', 'pg_checkpoint', 'pg_create_subscription'];
const list = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ');

/** The privileges of one grantee (0: everybody) on the relations of the schemas; an absent ACL gives nothing to anybody but the owner. */
const privilegesOf = (grantee: string): string => `(SELECT coalesce(json_agg(json_build_object('object', p.object, 'kind', p.kind, 'privileges', p.privileges) ORDER BY p.object), '[]') FROM (
    SELECT format('%I.%I', s.nspname, c.relname) AS object, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, json_agg(a.privilege_type ORDER BY a.privilege_type) AS privileges
    FROM pg_class c JOIN chosen s ON s.oid = c.relnamespace, aclexplode(c.relacl) a
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.grantee = ${grantee} GROUP BY 1, 2) p)`;

const factsQuery = `WITH wanted AS (SELECT $1::text AS role, $2::json AS schemas),
  agent AS (SELECT r.* FROM pg_roles r, wanted w WHERE r.rolname = w.role),
  chosen AS (SELECT n.* FROM pg_namespace n, wanted w WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND (json_array_length(w.schemas) = 0 OR n.nspname IN (SELECT json_array_elements_text(w.schemas)))),
  here AS (SELECT * FROM pg_database WHERE datname = current_database()),
  here_public AS (SELECT a.privilege_type FROM here, aclexplode(coalesce(here.datacl, acldefault('d', here.datdba))) a WHERE a.grantee = 0),
  owned AS (SELECT c.relowner AS owner, format('%I.%I', s.nspname, c.relname) AS object, c.relnamespace FROM pg_class c JOIN chosen s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S'))
SELECT json_build_object(
  'major', current_setting('server_version_num')::int / 10000, 'database', current_database(), 'databaseOwner', (SELECT pg_get_userbyid(datdba) FROM here),
  'me', current_user, 'isSuperuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), 'hasTls', current_setting('ssl') = 'on',
  'clientAddress', host(inet_client_addr()),
  'role', (SELECT json_build_object('superuser', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole, 'replication', rolreplication, 'bypassrls', rolbypassrls, 'login', rolcanlogin,
      'memberOf', (SELECT coalesce(json_agg(DISTINCT g.rolname), '[]') FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = agent.oid),
      'owns', (SELECT coalesce(json_agg(x.object ORDER BY x.object), '[]') FROM (SELECT object FROM owned WHERE owner = agent.oid
        UNION ALL SELECT format('schema %I', nspname) FROM pg_namespace WHERE nspowner = agent.oid
        UNION ALL SELECT format('database %I', datname) FROM pg_database WHERE datdba = agent.oid
        UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.proowner = agent.oid) x)) FROM agent),
  'schemas', (SELECT coalesce(json_agg(json_build_object('name', s.nspname,
      'publicMayCreate', EXISTS (SELECT FROM aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE'),
      'owners', (SELECT coalesce(json_agg(DISTINCT pg_get_userbyid(o.owner)), '[]') FROM owned o WHERE o.relnamespace = s.oid AND o.owner NOT IN (SELECT oid FROM agent))) ORDER BY s.nspname), '[]') FROM chosen s),
  'databasePublic', (SELECT coalesce(json_agg(privilege_type ORDER BY privilege_type), '[]') FROM here_public),
  'logins', (SELECT coalesce(json_agg(json_build_object('name', r.rolname, 'superuser', r.rolsuper, 'createrole', r.rolcreaterole, 'bypassrls', r.rolbypassrls, 'replication', r.rolreplication,
      'connects', has_database_privilege(r.oid, current_database(), 'CONNECT'),
      'connectsAsPublic', EXISTS (SELECT FROM here_public WHERE privilege_type = 'CONNECT') AND r.oid <> (SELECT datdba FROM here)
        AND NOT EXISTS (SELECT FROM here, aclexplode(here.datacl) a WHERE a.privilege_type = 'CONNECT' AND a.grantee <> 0 AND pg_has_role(r.oid, a.grantee, 'USAGE')),
      'writes', EXISTS (SELECT FROM pg_class c JOIN chosen s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(r.oid, s.oid, 'USAGE') AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')),
      'powers', (SELECT coalesce(json_agg(g.rolname ORDER BY g.rolname), '[]') FROM pg_roles g WHERE g.rolname IN (${list(powers)}) AND NOT r.rolsuper AND pg_has_role(r.oid, g.oid, 'MEMBER'))) ORDER BY r.rolname), '[]')
    FROM pg_roles r WHERE r.rolcanlogin AND r.oid NOT IN (SELECT oid FROM agent)),
  'publicPrivileges', ${privilegesOf('0')}, 'rolePrivileges', ${privilegesOf('(SELECT oid FROM agent)')},
  'publicFunctions', (SELECT coalesce(json_agg(json_build_object('signature', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
      'why', CASE WHEN e.extname IS NOT NULL THEN 'it is of the extension ' || e.extname ELSE 'it runs with the rights of ' || pg_get_userbyid(p.proowner) END) ORDER BY n.nspname, p.proname, p.oid), '[]')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' LEFT JOIN pg_extension e ON e.oid = d.refobjid
    WHERE p.oid >= 16384 AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
      AND (e.extname IN (${list(reachingExtensions)}) OR (e.extname IS NULL AND p.prosecdef AND n.oid IN (SELECT oid FROM chosen)))
      AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')),
  'untrustedLanguages', (SELECT coalesce(json_agg(lanname ORDER BY lanname), '[]') FROM pg_language WHERE lanispl AND NOT lanpltrusted),
  'foreignServers', (SELECT coalesce(json_agg(srvname ORDER BY srvname), '[]') FROM pg_foreign_server),
  'loginTriggers', (SELECT coalesce(json_agg(evtname ORDER BY evtname), '[]') FROM pg_event_trigger WHERE evtevent = 'login' AND evtenabled <> 'D'),
  'otherDatabases', (SELECT coalesce(json_agg(b.datname ORDER BY b.datname), '[]') FROM pg_database b WHERE b.datallowconn AND b.datname <> current_database()
    AND EXISTS (SELECT FROM aclexplode(coalesce(b.datacl, acldefault('d', b.datdba))) a WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT'))
)`;
