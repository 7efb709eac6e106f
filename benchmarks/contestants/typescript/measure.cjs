// Measures the TypeScript library (v2.0.0, built with tsc into dist/) and prints {"messages","seconds"}:
//   EVENTS_NODE_DIR=<checkout> node - publish|consume PORT TOPIC COUNT PARALLEL BYTES < measure.cjs
// publish: PARALLEL calls of publish at a time, each awaited (1: one by one).
// consume: COUNT events are stored first, which is not measured, then handled by its consumer.
const dir = process.env.EVENTS_NODE_DIR;
const [measure, ...rest] = process.argv.slice(2);
const [port, topic, count, parallel, bytes] = [+rest[0], rest[1], +rest[2], +rest[3], +rest[4]];
const Redis = require(dir + '/node_modules/ioredis');

const accept = { validate: () => ({ valid: true }), getSchema: () => undefined };
const frame = JSON.stringify({ userId: '0000000000', email: '', name: 'bench' }).length;
const body = (n) => ({ userId: String(n).padStart(10, '0'), email: 'x'.repeat(Math.max(bytes - frame, 0)), name: 'bench' });
const type = topic + '.created'; // its stream is <topic>-events
const stream = topic + '-events';

async function publish() {
  const { EventPublisher } = require(dir + '/dist/event-publisher');
  const { RedisStreamsClientProxy } = require(dir + '/dist/event-transport');
  const client = new RedisStreamsClientProxy({ host: '127.0.0.1', port, stream });
  const publisher = new EventPublisher({ redis: client }, { originServiceName: 'bench', validator: accept },
    { default: 'redis', routes: [{ pattern: /./, transport: 'redis' }] });
  await publisher.publish(type, body(0)); // connects
  const start = process.hrtime.bigint();
  for (let n = 0; n < count; n += parallel) {
    const calls = [];
    for (let i = n; i < Math.min(n + parallel, count); i++) calls.push(publisher.publish(type, body(i)));
    await Promise.all(calls);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  await publisher.close();
  return seconds;
}

async function consume(redis) {
  const { RedisStreamConsumer } = require(dir + '/dist/event-consumer/redis-streams-consumer');
  for (let n = 0; n < count; ) {
    const pipe = redis.pipeline();
    for (const end = Math.min(n + 1000, count); n < end; n++) {
      // Its consumer does not check the hash.
      const header = { id: String(n), type, origin: 'bench', timestamp: new Date().toISOString(), hash: '0', version: '1.0.0' };
      pipe.xadd(stream, '*', 'data', JSON.stringify({ pattern: type, data: { header, body: body(n) } }));
    }
    for (const [err] of await pipe.exec()) if (err) throw err;
  }
  await redis.xgroup('CREATE', stream, 'bench', '0', 'MKSTREAM');
  let handled = 0;
  const handlers = { [type]: async () => { handled++; } };
  const consumer = new RedisStreamConsumer({ redis, stream, group: 'bench', consumer: 'one', handlers, blockMs: 200, deadLetterStream: stream + '-dlq', validator: accept });
  const start = process.hrtime.bigint();
  for (let empty = 0; handled < count; ) {
    const before = handled;
    await consumer.pollAndHandle();
    empty = handled === before ? empty + 1 : 0;
    if (empty > 25) throw new Error(`${handled} of ${count} events were handled, and no more came`);
  }
  return Number(process.hrtime.bigint() - start) / 1e9;
}

(async () => {
  const redis = new Redis({ host: '127.0.0.1', port });
  const seconds = await (measure === 'publish' ? publish() : consume(redis));
  if (measure === 'publish') { // it swallows Redis's errors: count what has arrived
    const stored = await redis.xlen(stream);
    if (stored !== count + 1) throw new Error(`${count + 1} events were published, ${stored} are stored`);
  }
  await redis.del(stream);
  console.log(JSON.stringify({ messages: count, seconds }));
  process.exit(0);
})().catch((err) => { console.error(err); process.exit(1); });
