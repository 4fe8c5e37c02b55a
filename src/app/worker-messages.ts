/**
 * What a supervisor and its workers say to each other, over the channel that the system gives a process and its child.
 * Both are the same program; credentials pass here and nowhere else.
 */
import { z } from 'zod';

const key = { processId: z.int(), secretKey: z.base64() };
const failureSchema = z.object({ code: z.string(), message: z.string(), detail: z.string().optional(), hint: z.string() });
const policySchema = z.object({ name: z.string(), hash: z.string(), since: z.string(), environment: z.string(), refused: z.object({ at: z.string(), why: z.string() }).nullable() });
const healthSchema = z.object({ policy: policySchema, isLedgerWritable: z.boolean(), storageFault: z.string().nullable() });

export const fromSupervisor = z.discriminatedUnion('kind', [
  /** The first: who it is, and the configuration as text. */
  z.object({ kind: z.literal('begin'), slot: z.int(), slots: z.int(), config: z.string() }),
  z.object({ kind: z.literal('entered'), id: z.int(), own: z.int(), all: z.int() }),
  z.object({ kind: z.literal('cancel'), ...key }),
  z.object({ kind: z.literal('reload') }),
  z.object({ kind: z.literal('ask'), id: z.int(), what: z.enum(['health', 'metrics']) }),
  /** No new client; finish, and end. */
  z.object({ kind: z.literal('stop') }),
]);

export const fromWorker = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('listening'), address: z.string(), port: z.int() }),
  z.object({ kind: z.literal('failed'), failure: failureSchema }),
  /** A client of that agent is about to come in; one has left. */
  z.object({ kind: z.literal('enter'), id: z.int(), agent: z.string() }),
  z.object({ kind: z.literal('leave'), agent: z.string() }),
  z.object({ kind: z.literal('cancel'), slot: z.int(), ...key }),
  z.object({ kind: z.literal('health'), id: z.int(), health: healthSchema }),
  z.object({ kind: z.literal('metrics'), id: z.int(), parts: z.array(z.looseObject({})) }),
]);

export type FromSupervisor = z.infer<typeof fromSupervisor>;
export type FromWorker = z.infer<typeof fromWorker>;
export type WorkerHealth = z.infer<typeof healthSchema>;
