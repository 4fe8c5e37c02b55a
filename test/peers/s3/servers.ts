/**
 * Two real servers that speak S3, built once from source: MinIO, which users run though its makers have archived it, and
 * the Versity gateway. Each on a free port of the loopback address, over a folder of its own, with versions and locks.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3';
import { AssumeRoleCommand, STSClient } from '@aws-sdk/nested-clients/sts';
import type { S3Options } from '../../../src/remote/bucket/s3.ts';
import { freePort } from '../../fixtures/postgres-server.ts';
import { runProgram } from '../../fixtures/run-program.ts';
import { until } from '../../fixtures/until.ts';
import { cached, step } from '../peer.ts';

export const credentials = { accessKeyId: 'backstop-test', secretAccessKey: 'a-secret-of-the-test' };

interface Recipe {
  readonly name: string;
  readonly module: string;
  readonly program: string;
  readonly start: (port: number, folder: string) => { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> };
  /** Somebody who may do in a bucket what a policy says, and nothing else. */
  readonly somebody: (at: { readonly endpoint: string; readonly bin: string }, bucket: string, policy: Policy) => Promise<Required<S3Options>['credentials']>;
}

export interface Policy {
  readonly Version: string;
  readonly Statement: readonly { readonly Effect: string; readonly Action: readonly string[]; readonly Resource: string }[];
}

export const recipes: readonly Recipe[] = [
  {
    name: 'MinIO', module: 'github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c', program: 'minio',
    start: (port, folder) => ({
      args: ['server', '--quiet', '--address', `127.0.0.1:${port}`, folder],
      env: { MINIO_ROOT_USER: credentials.accessKeyId, MINIO_ROOT_PASSWORD: credentials.secretAccessKey, MINIO_UPDATE: 'off' },
    }),
    somebody: async ({ endpoint }, _, policy) => {
      const sts = new STSClient({ endpoint, region: 'us-east-1', credentials });
      const { Credentials: given } = await sts.send(new AssumeRoleCommand({ RoleArn: 'arn:aws:iam::000000000000:role/of-the-test', RoleSessionName: 'test', Policy: JSON.stringify(policy) }));
      sts.destroy();
      return { accessKeyId: given?.AccessKeyId ?? '', secretAccessKey: given?.SecretAccessKey ?? '', sessionToken: given?.SessionToken ?? '' };
    },
  },
  {
    name: 'Versity', module: 'github.com/versity/versitygw/cmd/versitygw@v1.8.0', program: 'versitygw',
    start: (port, folder) => {
      for (const part of ['data', 'versions', 'sidecar', 'iam']) mkdirSync(join(folder, part));
      return {
        args: ['--port', `127.0.0.1:${port}`, '--access', credentials.accessKeyId, '--secret', credentials.secretAccessKey, '--quiet', '--iam-dir', join(folder, 'iam'),
          'posix', '--versioning-dir', join(folder, 'versions'), '--sidecar', join(folder, 'sidecar'), join(folder, 'data')],
        env: {},
      };
    },
    somebody: async ({ endpoint, bin }, bucket, { Version, Statement }) => {
      const made = { accessKeyId: `user${users += 1}`, secretAccessKey: 'the-secret-of-a-user' };
      await step(join(bin, 'versitygw'), ['admin', '--access', credentials.accessKeyId, '--secret', credentials.secretAccessKey, '--endpoint-url', endpoint,
        'create-user', '--access', made.accessKeyId, '--secret', made.secretAccessKey, '--role', 'user']);
      const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
      await client.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify({ Version, Statement: Statement.map((one) => ({ ...one, Principal: { AWS: [made.accessKeyId] } })) }) }));
      client.destroy();
      return made;
    },
  },
];

export interface S3Server {
  readonly endpoint: string;
  /** The policy replaces that of whoever came before. */
  as(bucket: 'undo' | 'locked', policy: Policy): ReturnType<Recipe['somebody']>;
  stop(): Promise<void>;
}

let users = 0;
const buildMsMax = 600_000;
const startMsMax = 30_000;

/** With the buckets `undo`, and `locked`, which has Object Lock. */
export async function startS3({ name, module, program, start, somebody }: Recipe): Promise<S3Server> {
  const bin = await cached(program, module, async (to) => {
    const built = await runProgram('go', ['install', module], { msMax: buildMsMax, env: { ...process.env, GOBIN: to } });
    if (built.code !== 0) throw new Error(`${name} could not be built\n${built.stderr}`);
  });
  const folder = mkdtempSync(join(tmpdir(), `s3-${program}-`));
  const port = await freePort();
  const { args, env } = start(port, folder);
  const server = spawn(join(bin, program), args, { env: { ...process.env, ...env }, stdio: 'ignore', cwd: folder });
  const ended = new Promise<void>((resolve) => { server.once('exit', () => { resolve(); }); });
  process.once('exit', () => { server.kill('SIGKILL'); });
  const endpoint = `http://127.0.0.1:${port}`;
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials, maxAttempts: 1 });
  await until(`${name} answers`, () => client.send(new CreateBucketCommand({ Bucket: 'undo' })).then(() => true, () => false), startMsMax);
  await client.send(new CreateBucketCommand({ Bucket: 'locked', ObjectLockEnabledForBucket: true }));
  client.destroy();
  return { endpoint, as: (bucket, policy) => somebody({ endpoint, bin }, bucket, policy), stop: async () => { server.kill('SIGKILL'); await ended; rmSync(folder, { recursive: true, force: true }); } };
}
