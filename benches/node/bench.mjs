#!/usr/bin/env node
// Measures Igniter.js's Redis adapter on ioredis as src/peers/redis/igniter_js.rs asks.
//
// A line of standard input is a request, such as {"work": "get", "autopipelining": true, "tasks": 64,
// "milliseconds": 250, "keys": 10000, "batch": 100, "value": {…}}. It is answered by one line, {"operations": …,
// "wall_nanoseconds": …, "cpu_microseconds": …} or {"error": "…"}.
//
// The adapter is called directly: the store above it adds names and telemetry, which would only
// make it slower.
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { IgniterStoreRedisAdapter } from '@igniter-js/store';

const url = process.argv[2];
const HOUR = 3600;

const adapters = new Map();
function adapter(autopipelining) {
  if (!adapters.has(autopipelining)) {
    const redis = new Redis(url, { enableAutoPipelining: autopipelining });
    adapters.set(autopipelining, IgniterStoreRedisAdapter.create({ redis }));
  }
  return adapters.get(autopipelining);
}

// The keys of src/peers/redis/names.rs.
const key = (index) => `user:${String(index).padStart(12, '0')}`;
const absent = (index) => `nobody:${String(index).padStart(12, '0')}`;
const counter = (index) => `count:${String(index).padStart(12, '0')}`;

function checked(value, index) {
  if (value?.id !== index) throw new Error(`the value of ${key(index)} is not its own`);
}

const works = {
  async get(store, index) {
    checked(await store.get(key(index)), index);
  },
  async miss(store, index) {
    if ((await store.get(absent(index))) !== null) throw new Error('an absent key was there');
  },
  async set(store, index, value) {
    await store.set(key(index), { ...value, id: index });
  },
  async set_ttl(store, index, value) {
    await store.set(key(index), { ...value, id: index }, { ttl: HOUR });
  },
  async mix(store, index, value, turn) {
    await (turn % 10 === 9 ? works.set : works.get)(store, index, value);
  },
  async increment(store, index) {
    if (!((await store.increment(counter(index))) >= 1)) throw new Error('a count is not one');
  },
  async get_many(store, index, _value, _turn, { keys, batch }) {
    const first = index % (keys - batch);
    const values = await store.mget(Array.from({ length: batch }, (_, offset) => key(first + offset)));
    if (values.length !== batch) throw new Error(`${values.length} answers`);
    values.forEach((value, offset) => checked(value, first + offset));
  },
  async set_many(store, index, value, _turn, { keys, batch }) {
    const first = index % (keys - batch);
    const entry = (_, offset) => {
      const id = first + offset;
      return { key: key(id), value: { ...value, id }, ttl: HOUR };
    };
    await store.mset(Array.from({ length: batch }, entry));
  },
};

// As even as the sequence of the other contenders (src/work.rs), which would need a BigInt a number.
function* indices(task, keys) {
  let state = (Math.imul(task + 1, 0x9e3779b9) | 1) >>> 0;
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    yield state % keys;
  }
}

async function measure(request) {
  const { work, autopipelining, tasks, milliseconds, keys, value } = request;
  const store = adapter(autopipelining);
  await store.has(key(0)); // Connected before the clock runs.
  const once = works[work];
  if (!once) throw new Error(`there is no work ${work}`);
  let operations = 0;
  let running = true;
  async function task(number) {
    const sequence = indices(number, keys);
    for (let turn = 0; running; turn += 1) {
      await once(store, sequence.next().value, value, turn, request);
      operations += 1;
    }
  }
  const cpu = process.cpuUsage();
  const began = process.hrtime.bigint();
  setTimeout(() => { running = false; }, milliseconds);
  await Promise.all(Array.from({ length: tasks }, (_, number) => task(number)));
  const wall = Number(process.hrtime.bigint() - began);
  const { user, system } = process.cpuUsage(cpu);
  return { operations, wall_nanoseconds: wall, cpu_microseconds: user + system };
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = await measure(JSON.parse(line));
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
