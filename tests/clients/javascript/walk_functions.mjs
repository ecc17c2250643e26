// A walk through Lambda as a user of the AWS SDK for JavaScript v3 takes it: a Node.js function is deployed from
// function.zip, invoked, versioned, fed by a stream, and deleted. The endpoint and the handler come as arguments; each
// operation's name is printed when it has done what it should. Any surprise ends the walk with a trace.
//
//   node walk_functions.mjs ENDPOINT default|http2
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CreateStreamCommand, DeleteStreamCommand, DescribeStreamSummaryCommand, KinesisClient } from "@aws-sdk/client-kinesis";
import {
  AddPermissionCommand,
  CreateAliasCommand,
  CreateEventSourceMappingCommand,
  CreateFunctionCommand,
  DeleteAliasCommand,
  DeleteEventSourceMappingCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  DeleteFunctionEventInvokeConfigCommand,
  GetAccountSettingsCommand,
  GetAliasCommand,
  GetEventSourceMappingCommand,
  GetFunctionCommand,
  GetFunctionConcurrencyCommand,
  GetFunctionConfigurationCommand,
  GetFunctionEventInvokeConfigCommand,
  GetPolicyCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  LambdaClient,
  ListAliasesCommand,
  ListEventSourceMappingsCommand,
  ListTagsCommand,
  ListVersionsByFunctionCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutFunctionEventInvokeConfigCommand,
  RemovePermissionCommand,
  ResourceConflictException,
  ResourceNotFoundException,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateAliasCommand,
  UpdateEventSourceMappingCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  paginateListFunctions,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from "@aws-sdk/client-lambda";
import { NodeHttp2Handler } from "@smithy/node-http-handler";

const [endpoint, handler] = process.argv.slice(2);
const FunctionName = `javascript-${process.pid}`;
const settings = {
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: "AKIDJAVASCRIPT", secretAccessKey: "a-secret-for-tests-only" },
  maxAttempts: 1,
};
const client = new LambdaClient({ ...settings, ...(handler === "http2" ? { requestHandler: new NodeHttp2Handler() } : {}) });
const kinesis = new KinesisClient(settings);
const waiting = { client, minDelay: 1, maxDelay: 1, maxWaitTime: 60 };
const json = (payload) => JSON.parse(new TextDecoder().decode(payload));
const bytes = (value) => new TextEncoder().encode(JSON.stringify(value));

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
    assert.ok(error instanceof kind);
    assert.ok(error.$metadata.requestId);
    return true;
  });
}

async function until(Command, members, isDone) {
  for (let look = 0; look < 10_000; look += 1) {
    const answer = await client.send(new Command(members));
    if (isDone(answer)) return answer;
  }
  throw new Error(`${Command.name} never answered as it should`);
}

async function deploy() {
  const ZipFile = readFileSync("function.zip");
  const Role = "arn:aws:iam::000000000000:role/tests";
  const members = { FunctionName, Runtime: "nodejs20.x", Role, Handler: "app.handler", Code: { ZipFile }, Timeout: 10 };
  const made = await ask(CreateFunctionCommand, { ...members, Tags: { team: "web" } });
  assert.equal(made.State, "Pending");
  await waitUntilFunctionActiveV2(waiting, { FunctionName });
  await fails("ResourceConflictException", ResourceConflictException, CreateFunctionCommand, members);
  await fails("ResourceNotFoundException", ResourceNotFoundException, GetFunctionCommand, { FunctionName: "none" });
  const { Configuration, Tags } = await ask(GetFunctionCommand, { FunctionName });
  assert.equal(Configuration.CodeSha256, made.CodeSha256);
  assert.deepEqual(Tags, { team: "web" });
  const names = [];
  for await (const page of paginateListFunctions({ client, pageSize: 1 }, {})) names.push(...page.Functions.map((f) => f.FunctionName));
  assert.ok(names.includes(FunctionName));
  done("ListFunctions");
  await ask(GetAccountSettingsCommand, {});
  return made.FunctionArn;
}

async function invoke() {
  const answered = await ask(InvokeCommand, { FunctionName, Payload: bytes({ héllo: 1 }), LogType: "Tail" });
  assert.equal(answered.StatusCode, 200);
  assert.equal(answered.FunctionError, undefined);
  assert.deepEqual(json(answered.Payload), { received: { héllo: 1 } });
  assert.match(Buffer.from(answered.LogResult, "base64").toString(), /REPORT RequestId/);
  const many = await Promise.all(
    Array.from({ length: 8 }, (_, n) => client.send(new InvokeCommand({ FunctionName, Payload: bytes({ n }) }))),
  );
  assert.deepEqual(many.map(({ Payload }) => json(Payload).received.n), Array.from({ length: 8 }, (_, n) => n));
  const kept = await ask(InvokeCommand, { FunctionName, InvocationType: "Event", Payload: bytes({}) });
  assert.equal(kept.StatusCode, 202);
  const { EventStream } = await client.send(new InvokeWithResponseStreamCommand({ FunctionName, Payload: bytes({ a: 1 }) }));
  const pieces = [];
  let isComplete = false;
  for await (const { PayloadChunk, InvokeComplete } of EventStream) {
    if (PayloadChunk) pieces.push(PayloadChunk.Payload);
    if (InvokeComplete) isComplete = InvokeComplete.ErrorCode === undefined;
  }
  assert.deepEqual(json(Buffer.concat(pieces)), { received: { a: 1 } });
  assert.ok(isComplete);
  done("InvokeWithResponseStream");
}

async function version() {
  const changed = await ask(UpdateFunctionConfigurationCommand, { FunctionName, MemorySize: 256 });
  assert.equal(changed.LastUpdateStatus, "InProgress");
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName });
  await ask(UpdateFunctionCodeCommand, { FunctionName, ZipFile: readFileSync("function.zip") });
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName });
  assert.equal((await ask(GetFunctionConfigurationCommand, { FunctionName })).MemorySize, 256);
  assert.equal((await ask(PublishVersionCommand, { FunctionName })).Version, "1");
  const { Versions } = await ask(ListVersionsByFunctionCommand, { FunctionName });
  assert.deepEqual(Versions.map(({ Version }) => Version), ["$LATEST", "1"]);
  await ask(CreateAliasCommand, { FunctionName, Name: "live", FunctionVersion: "1" });
  await ask(UpdateAliasCommand, { FunctionName, Name: "live", Description: "what users see" });
  assert.equal((await ask(GetAliasCommand, { FunctionName, Name: "live" })).Description, "what users see");
  assert.equal((await ask(ListAliasesCommand, { FunctionName })).Aliases.length, 1);
  const { ExecutedVersion } = await ask(InvokeCommand, { FunctionName, Qualifier: "live", Payload: bytes({}) });
  assert.equal(ExecutedVersion, "1");
}

async function map() {
  const StreamName = FunctionName;
  await kinesis.send(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
  const { StreamDescriptionSummary } = await kinesis.send(new DescribeStreamSummaryCommand({ StreamName }));
  const made = await ask(CreateEventSourceMappingCommand, {
    FunctionName: `${FunctionName}:live`,
    EventSourceArn: StreamDescriptionSummary.StreamARN,
    StartingPosition: "AT_TIMESTAMP",
    StartingPositionTimestamp: new Date(Date.now() - 60_000),
    BatchSize: 10,
  });
  assert.ok(made.LastModified instanceof Date);
  assert.ok(Math.abs(made.StartingPositionTimestamp - (Date.now() - 60_000)) < 30_000);
  const { UUID } = made;
  await until(GetEventSourceMappingCommand, { UUID }, ({ State }) => State === "Enabled");
  done("GetEventSourceMapping");
  await ask(UpdateEventSourceMappingCommand, { UUID, BatchSize: 20 });
  const { BatchSize } = await until(GetEventSourceMappingCommand, { UUID }, ({ State }) => State === "Enabled");
  assert.equal(BatchSize, 20);
  const listed = await ask(ListEventSourceMappingsCommand, { FunctionName: `${FunctionName}:live` });
  assert.deepEqual(listed.EventSourceMappings.map((mapping) => mapping.UUID), [UUID]);
  assert.equal((await ask(DeleteEventSourceMappingCommand, { UUID })).State, "Deleting");
  await kinesis.send(new DeleteStreamCommand({ StreamName }));
}

async function settle(Resource) {
  const permission = { FunctionName, StatementId: "s3", Action: "lambda:InvokeFunction", Principal: "s3.amazonaws.com" };
  const { Statement } = await ask(AddPermissionCommand, permission);
  assert.equal(JSON.parse(Statement).Sid, "s3");
  assert.equal(JSON.parse((await ask(GetPolicyCommand, { FunctionName })).Policy).Statement.length, 1);
  await ask(RemovePermissionCommand, { FunctionName, StatementId: "s3" });
  await ask(TagResourceCommand, { Resource, Tags: { stage: "test" } });
  await ask(UntagResourceCommand, { Resource, TagKeys: ["team", "other"] });
  assert.deepEqual((await ask(ListTagsCommand, { Resource })).Tags, { stage: "test" });
  await ask(PutFunctionConcurrencyCommand, { FunctionName, ReservedConcurrentExecutions: 1 });
  assert.equal((await ask(GetFunctionConcurrencyCommand, { FunctionName })).ReservedConcurrentExecutions, 1);
  await ask(DeleteFunctionConcurrencyCommand, { FunctionName });
  await ask(PutFunctionEventInvokeConfigCommand, { FunctionName, MaximumRetryAttempts: 0 });
  const { LastModified } = await ask(GetFunctionEventInvokeConfigCommand, { FunctionName });
  assert.ok(LastModified instanceof Date);
  await ask(DeleteFunctionEventInvokeConfigCommand, { FunctionName });
  await ask(DeleteAliasCommand, { FunctionName, Name: "live" });
}

const wanted = handler === "http2" ? "NodeHttp2Handler" : "NodeHttpHandler";
assert.equal(client.config.requestHandler.constructor.name, wanted);
const arn = await deploy();
await invoke();
await version();
await map();
await settle(arn);
await ask(DeleteFunctionCommand, { FunctionName });
client.destroy();
kinesis.destroy();
