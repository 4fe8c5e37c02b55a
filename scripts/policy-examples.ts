/**
 * The examples of docs/policy.md, one for each section. A test parses each inside a whole policy.
 */
export const examples: Readonly<Record<string, string>> = {
  levels: `
levels:
  SAFE: allow       # reads
  LOW: allow        # what stays inside the session
  HIGH: hold        # bounded writes wait for a person
  CRITICAL: deny    # losses without a bound never run
`,
  unknown: `
unknown: hold       # a person may look at what could not be judged
`,
  recovery: `
recovery:
  required_from: CRITICAL
`,
  protected: `
protected:
  tables: [payments, public.audit_*]
  schemas: [billing]
  columns: [users.password_hash, '*.card_number']
  on_write: deny
  on_read: allow
  on_column_read: deny
`,
  blocked: `
blocked: [program, file, alter-system, replication, role-change, drop-database]
`,
  limits: `
limits:
  max_rows: 1000      # one statement changes at most so many rows
  max_percent: 10     # and at most this share of a table
  above: hold         # a person sees the measured numbers and decides
`,
  budgets: `
budgets:
  - { per: minute, statements: 600, above: hold }
  - { per: hour, rows_changed: 5000 }
  - { per: day, rows_read: 1000000, above: deny }
`,
  timeouts: `
timeouts:
  statement: 30
  lock: 5
  idle_in_transaction: 60
`,
  approval: `
approval:
  wait: 55
  expires: 3600
`,
  scopes: `
scopes:
  - name: migrations            # on developers' machines migrations just run
    match: { agents: [migrate-*], environments: [dev] }
    levels: { SAFE: allow, LOW: allow, HIGH: allow, CRITICAL: hold }
  - name: night                 # nobody is there to answer
    match:
      hours: { days: [mon, tue, wed, thu, fri], from: "20:00", to: "07:00", zone: Europe/Berlin }
    levels: { SAFE: allow, LOW: allow, HIGH: deny, CRITICAL: deny }
  - name: reporting
    match: { agents: [reporting, bi-*], databases: [shop] }
    protected: { columns: [customers.email], on_column_read: deny }
    budgets: [{ per: hour, rows_read: 500000 }]
`,
};
