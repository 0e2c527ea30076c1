#!/usr/bin/env node
// Calls the real Igniter.js packages as tests/interop_node.rs asks.
//
// A line of standard input is a call: {"call": "adapter.set", "arguments": ["user:1", {}],
// "scope": [["organization", "1"]]}. It is answered by one line, {"answer": …} or {"error": "…"}.
// A message that arrives on a subscription is a line of its own, {"message": …}.
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { createRedisStoreAdapter } from '@igniter-js/adapter-redis';
import { IgniterStore, IgniterStoreRedisAdapter } from '@igniter-js/store';

const [url, keyPrefix, service] = process.argv.slice(2);
const adapter = createRedisStoreAdapter(new Redis(url, { keyPrefix }));
const store = IgniterStore.create()
  .withAdapter(IgniterStoreRedisAdapter.create({ redis: new Redis(url) }))
  .withService(service)
  .addScope('organization')
  .addScope('workspace')
  .build();

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function perform({ call, arguments: given = [], scope = [] }) {
  const path = call.split('.');
  const method = path.pop();
  const scoped = scope.reduce((outer, [key, id]) => outer.scope(key, id), store);
  const target = path.reduce((object, name) => object[name], { adapter, store: scoped });
  if (method === 'subscribe') {
    await target.subscribe(...given, (message) => say({ message }));
    return null;
  }
  return target[method](...given);
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    say({ answer: (await perform(JSON.parse(line))) ?? null });
  } catch (error) {
    say({ error: String(error) });
  }
}
process.exit(0);
