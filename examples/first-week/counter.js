// Counters in NATS KV. Compare-and-set loses no count, however many instances count at once.
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";

const nats = await connect({ servers: process.env.NATS_URL });
const counters = await new Kvm(nats).create("counters");

export default async (request) => {
  const key = new URL(request.url).pathname.slice(1) || "visits";
  for (;;) {
    const entry = await counters.get(key);
    const count = 1 + Number(entry?.string() ?? 0);
    try {
      await counters.put(key, String(count), { previousSeq: entry?.revision ?? 0 });
      return { [key]: count };
    } catch (error) {
      if (error.code !== 10071) throw error; // wrong last sequence: another call was faster
    }
  }
};
