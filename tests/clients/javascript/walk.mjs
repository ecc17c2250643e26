// A walk through Kinesis as a user of the AWS SDK for JavaScript v3 takes it. The endpoint and the handler come as
// arguments; each operation's name is printed when it has done what it should. Any surprise ends the walk with a trace.
//
//   node walk.mjs ENDPOINT default|http1
import assert from "node:assert/strict";
import {
  AddTagsToStreamCommand,
  CreateStreamCommand,
  DecreaseStreamRetentionPeriodCommand,
  DeleteStreamCommand,
  DeregisterStreamConsumerCommand,
  DescribeLimitsCommand,
  DescribeStreamCommand,
  DescribeStreamConsumerCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  IncreaseStreamRetentionPeriodCommand,
  KinesisClient,
  ListShardsCommand,
  ListStreamConsumersCommand,
  ListStreamsCommand,
  ListTagsForStreamCommand,
  MergeShardsCommand,
  PutRecordCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  RemoveTagsFromStreamCommand,
  ResourceNotFoundException,
  SplitShardCommand,
  StartStreamEncryptionCommand,
  StopStreamEncryptionCommand,
  SubscribeToShardCommand,
  UpdateShardCountCommand,
  paginateListStreams,
  waitUntilStreamExists,
  waitUntilStreamNotExists,
} from "@aws-sdk/client-kinesis";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const [endpoint, handler] = process.argv.slice(2);
const StreamName = `javascript-${process.pid}`;
const text = (data) => new TextDecoder().decode(data);
const bytes = (word) => new TextEncoder().encode(word);

const client = new KinesisClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "AKIDJAVASCRIPT", secretAccessKey: "a-secret-for-tests-only" },
  maxAttempts: 1,
  ...(handler === "http1" ? { requestHandler: new NodeHttpHandler() } : {}),
});

async function ask(Command, members) {
  const answer = await client.send(new Command(members));
  done(Command.name.replace("Command", ""));
  return answer;
}

function done(operation) {
  console.log(operation);
}

async function fails(name, kind, Command, members) {
  await assert.rejects(client.send(new Command(members)), (error) => {
    assert.equal(error.name, name);
    assert.ok(kind === undefined || error instanceof kind);
    assert.ok(error.$metadata.requestId);
    return true;
  });
}

async function manageStreams() {
  await ask(CreateStreamCommand, { StreamName, ShardCount: 2 });
  await waitUntilStreamExists({ client, maxWaitTime: 30 }, { StreamName });
  const { StreamDescription: described } = await ask(DescribeStreamCommand, { StreamName });
  assert.equal(described.StreamStatus, "ACTIVE");
  assert.equal(described.Shards.length, 2);
  assert.ok(described.StreamCreationTimestamp instanceof Date);
  const names = [];
  for await (const page of paginateListStreams({ client, pageSize: 1 }, {})) names.push(...page.StreamNames);
  assert.ok(names.includes(StreamName));
  await ask(ListStreamsCommand, {});
  await ask(IncreaseStreamRetentionPeriodCommand, { StreamName, RetentionPeriodHours: 48 });
  await ask(DecreaseStreamRetentionPeriodCommand, { StreamName, RetentionPeriodHours: 24 });
  await ask(AddTagsToStreamCommand, { StreamName, Tags: { team: "web" } });
  const { Tags } = await ask(ListTagsForStreamCommand, { StreamName });
  assert.deepEqual(Tags, [{ Key: "team", Value: "web" }]);
  await ask(RemoveTagsFromStreamCommand, { StreamName, TagKeys: ["team"] });
  const limits = await ask(DescribeLimitsCommand, {});
  assert.ok(limits.ShardLimit > 0);
  await fails("ResourceNotFoundException", ResourceNotFoundException, DescribeStreamCommand, { StreamName: "none" });
  await fails("ValidationException", undefined, CreateStreamCommand, { StreamName: "!", ShardCount: 1 });
}

async function putAndRead() {
  const put = await ask(PutRecordCommand, { StreamName, PartitionKey: "k", Data: bytes("héllo"), ExplicitHashKey: "0" });
  assert.equal(put.ShardId, "shardId-000000000000");
  // Five megabytes in one call, and many calls at a time on one connection.
  const Records = Array.from({ length: 500 }, (_, n) => ({ PartitionKey: `${n}`, Data: new Uint8Array(10_000).fill(n) }));
  const batch = await ask(PutRecordsCommand, { StreamName, Records });
  assert.equal(batch.FailedRecordCount, 0);
  await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      client.send(new PutRecordCommand({ StreamName, PartitionKey: `${n}`, Data: bytes(`${n}`) })),
    ),
  );
  const { Shards } = await ask(ListShardsCommand, { StreamName });
  let count = 0;
  for (const { ShardId } of Shards) {
    const place = { StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" };
    let { ShardIterator } = await ask(GetShardIteratorCommand, place);
    for (;;) {
      const read = await ask(GetRecordsCommand, { ShardIterator });
      if (read.Records.length === 0) break;
      assert.ok(read.Records[0].ApproximateArrivalTimestamp instanceof Date);
      assert.ok(Math.abs(Date.now() - read.Records[0].ApproximateArrivalTimestamp) < 3_600_000);
      count += read.Records.length;
      ShardIterator = read.NextShardIterator;
    }
  }
  assert.equal(count, 701);
  for (const position of [
    { ShardIteratorType: "AT_SEQUENCE_NUMBER", StartingSequenceNumber: put.SequenceNumber },
    { ShardIteratorType: "AT_TIMESTAMP", Timestamp: new Date(Date.now() - 3_600_000) },
  ]) {
    const { ShardIterator } = await ask(GetShardIteratorCommand, { StreamName, ShardId: put.ShardId, ...position });
    const { Records: found } = await ask(GetRecordsCommand, { ShardIterator, Limit: 1 });
    assert.equal(text(found[0].Data), "héllo");
  }
  for (const position of [
    { ShardIteratorType: "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber: put.SequenceNumber },
    { ShardIteratorType: "LATEST" },
  ]) {
    const { ShardIterator } = await ask(GetShardIteratorCommand, { StreamName, ShardId: put.ShardId, ...position });
    const { Records: found } = await ask(GetRecordsCommand, { ShardIterator, Limit: 1 });
    assert.ok(found.length === 0 || text(found[0].Data) !== "héllo");
  }
  return put;
}

async function subscribe(put) {
  const { StreamDescriptionSummary: summary } = await ask(DescribeStreamSummaryCommand, { StreamName });
  const { Consumer } = await ask(RegisterStreamConsumerCommand, { StreamARN: summary.StreamARN, ConsumerName: "c" });
  await ask(DescribeStreamConsumerCommand, { ConsumerARN: Consumer.ConsumerARN });
  await ask(ListStreamConsumersCommand, { StreamARN: summary.StreamARN });
  const asked = { ConsumerARN: Consumer.ConsumerARN, ShardId: put.ShardId };
  const { EventStream } = await client.send(
    new SubscribeToShardCommand({
      ...asked,
      StartingPosition: { Type: "AT_SEQUENCE_NUMBER", SequenceNumber: put.SequenceNumber },
    }),
  );
  await fails("ResourceInUseException", undefined, SubscribeToShardCommand, {
    ...asked,
    StartingPosition: { Type: "LATEST" },
  });
  const found = [];
  let live = false;
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    found.push(...event.Records.map(({ Data }) => text(Data)));
    if (event.ChildShards) {
      assert.equal(event.ChildShards.length, 2);
      assert.equal(event.ContinuationSequenceNumber, undefined);
      break;
    }
    assert.ok(event.ContinuationSequenceNumber);
    if (!live && event.MillisBehindLatest === 0) {
      live = true;
      await client.send(new PutRecordCommand({ StreamName, PartitionKey: "k", Data: bytes("live"), ExplicitHashKey: "0" }));
    } else if (found.at(-1) === "live") {
      const place = { StreamName, ShardToSplit: put.ShardId, NewStartingHashKey: "100" };
      await ask(SplitShardCommand, place);
    }
  }
  assert.equal(found[0], "héllo");
  assert.equal(found.at(-1), "live");
  done("SubscribeToShard");
  await ask(DeregisterStreamConsumerCommand, { ConsumerARN: Consumer.ConsumerARN });
}

async function reshardAndEnd() {
  const { Shards } = await client.send(new ListShardsCommand({ StreamName }));
  const [low, high] = Shards.filter(({ ParentShardId }) => ParentShardId);
  await ask(MergeShardsCommand, { StreamName, ShardToMerge: low.ShardId, AdjacentShardToMerge: high.ShardId });
  await ask(UpdateShardCountCommand, { StreamName, TargetShardCount: 4, ScalingType: "UNIFORM_SCALING" });
  await ask(StartStreamEncryptionCommand, { StreamName, EncryptionType: "KMS", KeyId: "alias/aws/kinesis" });
  await ask(StopStreamEncryptionCommand, { StreamName, EncryptionType: "KMS", KeyId: "alias/aws/kinesis" });
  await ask(DeleteStreamCommand, { StreamName });
  await waitUntilStreamNotExists({ client, maxWaitTime: 30 }, { StreamName });
}

assert.equal(client.config.requestHandler.constructor.name, handler === "http1" ? "NodeHttpHandler" : "NodeHttp2Handler");
await manageStreams();
const put = await putAndRead();
await subscribe(put);
await reshardAndEnd();
client.destroy();
