// A walk through Kinesis as a user of the AWS SDK for Java v2 takes it: java Walk ENDPOINT sync|http1|http2 cbor|json
//
// Each operation's name is printed when it has done what it should. Any surprise ends the walk with a trace.

import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.SdkSystemSetting;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.ProtocolNegotiation;
import software.amazon.awssdk.http.apache.ApacheHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;

public final class Walk {
    private static final String STREAM = "java-" + ProcessHandle.current().pid();
    private static final int CONCURRENT_PUT_COUNT = 200;

    private static StaticCredentialsProvider keys() {
        return StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIDJAVA", "a-secret-for-tests-only"));
    }

    public static void main(String[] arguments) throws Exception {
        URI endpoint = URI.create(arguments[0]);
        if (arguments[2].equals("json")) {
            System.setProperty(SdkSystemSetting.CBOR_ENABLED.property(), "false");
        }
        if (arguments[1].equals("sync")) {
            try (KinesisClient client = KinesisClient.builder()
                    .endpointOverride(endpoint)
                    .region(Region.US_EAST_1)
                    .credentialsProvider(keys())
                    .httpClientBuilder(ApacheHttpClient.builder())
                    .overrideConfiguration(c -> c.retryStrategy(r -> r.maxAttempts(1)))
                    .build()) {
                Walk walk = new Walk(new Sync(client));
                walk.go();
                walk.end();
            }
            return;
        }
        NettyNioAsyncHttpClient.Builder http = NettyNioAsyncHttpClient.builder().maxConcurrency(CONCURRENT_PUT_COUNT);
        if (arguments[1].equals("http1")) {
            http.protocol(Protocol.HTTP1_1);
        } else if (endpoint.getScheme().equals("https")) {
            http.protocol(Protocol.HTTP2).protocolNegotiation(ProtocolNegotiation.ALPN);
        } else {
            http.protocol(Protocol.HTTP2);
        }
        try (KinesisAsyncClient client = KinesisAsyncClient.builder()
                .endpointOverride(endpoint)
                .region(Region.US_EAST_1)
                .credentialsProvider(keys())
                .httpClientBuilder(http)
                .overrideConfiguration(c -> c.retryStrategy(r -> r.maxAttempts(1)))
                .build()) {
            Walk walk = new Walk(new Async(client));
            walk.go();
            walk.subscribe(client);
            walk.end();
        }
    }

    /** Either client, as far as the walk needs it. */
    private interface Asked {
        CompletableFuture<PutRecordResponse> put(PutRecordRequest request);

        <R> R ask(Function<KinesisClient, R> sync, Function<KinesisAsyncClient, CompletableFuture<R>> async);
    }

    private record Sync(KinesisClient client) implements Asked {
        @Override
        public CompletableFuture<PutRecordResponse> put(PutRecordRequest request) {
            return CompletableFuture.supplyAsync(() -> client.putRecord(request));
        }

        @Override
        public <R> R ask(Function<KinesisClient, R> sync, Function<KinesisAsyncClient, CompletableFuture<R>> async) {
            return sync.apply(client);
        }
    }

    private record Async(KinesisAsyncClient client) implements Asked {
        @Override
        public CompletableFuture<PutRecordResponse> put(PutRecordRequest request) {
            return client.putRecord(request);
        }

        @Override
        public <R> R ask(Function<KinesisClient, R> sync, Function<KinesisAsyncClient, CompletableFuture<R>> async) {
            try {
                return async.apply(client).get(60, TimeUnit.SECONDS);
            } catch (ExecutionException failure) {
                if (failure.getCause() instanceof RuntimeException cause) {
                    throw cause;
                }
                throw new IllegalStateException(failure);
            } catch (Exception failure) {
                throw new IllegalStateException(failure);
            }
        }
    }

    private final Asked asked;

    private Walk(Asked asked) {
        this.asked = asked;
    }

    private <R> R ask(String operation, Function<KinesisClient, R> s, Function<KinesisAsyncClient, CompletableFuture<R>> a) {
        R answer = asked.ask(s, a);
        done(operation);
        return answer;
    }

    private static void done(String operation) {
        System.out.println(operation);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private void go() throws Exception {
        CreateStreamRequest create = CreateStreamRequest.builder().streamName(STREAM).shardCount(2).build();
        ask("CreateStream", c -> c.createStream(create), c -> c.createStream(create));
        DescribeStreamRequest describe = DescribeStreamRequest.builder().streamName(STREAM).build();
        StreamDescription described = ask("DescribeStream", c -> c.describeStream(describe), c -> c.describeStream(describe))
                .streamDescription();
        check(described.streamStatus() == StreamStatus.ACTIVE, "the stream is active");
        check(Math.abs(Instant.now().getEpochSecond() - described.streamCreationTimestamp().getEpochSecond()) < 3600,
                "the creation time is a time of today");
        ask("ListStreams", c -> c.listStreams(), c -> c.listStreams());
        ask("DescribeLimits", c -> c.describeLimits(), c -> c.describeLimits());
        AddTagsToStreamRequest tags = AddTagsToStreamRequest.builder().streamName(STREAM).tags(Map.of("a", "b")).build();
        ask("AddTagsToStream", c -> c.addTagsToStream(tags), c -> c.addTagsToStream(tags));
        failsWell();
        putAndRead();
    }

    private void failsWell() {
        DescribeStreamRequest nowhere = DescribeStreamRequest.builder().streamName("nowhere").build();
        try {
            asked.ask(c -> c.describeStream(nowhere), c -> c.describeStream(nowhere));
            throw new AssertionError("a stream that is not there was described");
        } catch (ResourceNotFoundException refused) {
            check(refused.awsErrorDetails().errorMessage().contains("Stream nowhere under account"), "the words are AWS's");
            check(refused.requestId() != null && refused.statusCode() == 400, "identity and status come along");
        }
        CreateStreamRequest wrong = CreateStreamRequest.builder().streamName("!").shardCount(1).build();
        try {
            asked.ask(c -> c.createStream(wrong), c -> c.createStream(wrong));
            throw new AssertionError("a stream of a wrong name was made");
        } catch (KinesisException refused) {
            check(refused.awsErrorDetails().errorCode().equals("ValidationException"), "the code is AWS's");
        }
    }

    private void putAndRead() throws Exception {
        PutRecordRequest first = record("héllo", "k").toBuilder().explicitHashKey("0").build();
        PutRecordResponse put = ask("PutRecord", c -> c.putRecord(first), c -> c.putRecord(first));
        check(put.shardId().equals("shardId-000000000000"), "the explicit hash key decides");
        List<PutRecordsRequestEntry> entries = new ArrayList<>();
        for (int n = 0; n < 500; n++) {
            entries.add(PutRecordsRequestEntry.builder().partitionKey("" + n)
                    .data(SdkBytes.fromByteArray(new byte[10_000])).build());
        }
        PutRecordsRequest batch = PutRecordsRequest.builder().streamName(STREAM).records(entries).build();
        check(ask("PutRecords", c -> c.putRecords(batch), c -> c.putRecords(batch)).failedRecordCount() == 0, "all are stored");
        List<CompletableFuture<PutRecordResponse>> puts = new ArrayList<>();
        for (int n = 0; n < CONCURRENT_PUT_COUNT; n++) {
            puts.add(asked.put(record("" + n, "" + n)));
        }
        for (CompletableFuture<PutRecordResponse> one : puts) {
            one.get(60, TimeUnit.SECONDS);
        }
        ListShardsRequest list = ListShardsRequest.builder().streamName(STREAM).build();
        int count = 0;
        for (Shard shard : ask("ListShards", c -> c.listShards(list), c -> c.listShards(list)).shards()) {
            count += count(shard.shardId());
        }
        check(count == 501 + CONCURRENT_PUT_COUNT, "what was put is there: " + count);
        startAnywhere(put);
    }

    private int count(String shardId) {
        GetShardIteratorRequest from = GetShardIteratorRequest.builder().streamName(STREAM).shardId(shardId)
                .shardIteratorType(ShardIteratorType.TRIM_HORIZON).build();
        String place = ask("GetShardIterator", c -> c.getShardIterator(from), c -> c.getShardIterator(from)).shardIterator();
        int count = 0;
        while (true) {
            GetRecordsRequest request = GetRecordsRequest.builder().shardIterator(place).build();
            GetRecordsResponse read = ask("GetRecords", c -> c.getRecords(request), c -> c.getRecords(request));
            if (read.records().isEmpty()) {
                return count;
            }
            long arrival = read.records().get(0).approximateArrivalTimestamp().getEpochSecond();
            check(Math.abs(Instant.now().getEpochSecond() - arrival) < 3600, "the arrival is a time of today");
            count += read.records().size();
            place = read.nextShardIterator();
        }
    }

    private void startAnywhere(PutRecordResponse put) {
        GetShardIteratorRequest base = GetShardIteratorRequest.builder().streamName(STREAM).shardId(put.shardId())
                .shardIteratorType(ShardIteratorType.LATEST).build();
        List<GetShardIteratorRequest> places = List.of(
                base.toBuilder().shardIteratorType(ShardIteratorType.AT_SEQUENCE_NUMBER)
                        .startingSequenceNumber(put.sequenceNumber()).build(),
                base.toBuilder().shardIteratorType(ShardIteratorType.AT_TIMESTAMP)
                        .timestamp(Instant.now().minusSeconds(3600)).build(),
                base.toBuilder().shardIteratorType(ShardIteratorType.AFTER_SEQUENCE_NUMBER)
                        .startingSequenceNumber(put.sequenceNumber()).build(),
                base);
        for (int n = 0; n < places.size(); n++) {
            GetShardIteratorRequest from = places.get(n);
            String place = asked.ask(c -> c.getShardIterator(from), c -> c.getShardIterator(from)).shardIterator();
            GetRecordsRequest request = GetRecordsRequest.builder().shardIterator(place).limit(1).build();
            List<software.amazon.awssdk.services.kinesis.model.Record> found =
                    asked.ask(c -> c.getRecords(request), c -> c.getRecords(request)).records();
            boolean isFirst = !found.isEmpty() && found.get(0).data().asUtf8String().equals("héllo");
            check(isFirst == (n < 2), "place " + n + " is where it should be");
        }
        this.first = put;
    }

    private PutRecordResponse first;

    private static PutRecordRequest record(String data, String key) {
        return PutRecordRequest.builder().streamName(STREAM).partitionKey(key)
                .data(SdkBytes.fromString(data, StandardCharsets.UTF_8)).build();
    }

    /** Reads the first shard by push, through its split, going on once after the subscription was left. */
    private void subscribe(KinesisAsyncClient client) throws Exception {
        String arn = client.describeStreamSummary(r -> r.streamName(STREAM)).get().streamDescriptionSummary().streamARN();
        done("DescribeStreamSummary");
        Consumer consumer = client.registerStreamConsumer(r -> r.streamARN(arn).consumerName("c")).get().consumer();
        done("RegisterStreamConsumer");
        List<SubscribeToShardEvent> events = Collections.synchronizedList(new ArrayList<>());
        CompletableFuture<Void> live = new CompletableFuture<>();
        SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder()
                .subscriber(event -> event.accept(SubscribeToShardResponseHandler.Visitor.builder()
                        .onSubscribeToShardEvent(pushed -> {
                            events.add(pushed);
                            if (pushed.millisBehindLatest() == 0) {
                                live.complete(null);
                            }
                        })
                        .build()))
                .build();
        CompletableFuture<Void> whole = client.subscribeToShard(
                r -> r.consumerARN(consumer.consumerARN()).shardId(first.shardId()).startingPosition(
                        p -> p.type(ShardIteratorType.AT_SEQUENCE_NUMBER).sequenceNumber(first.sequenceNumber())),
                handler);
        live.get(60, TimeUnit.SECONDS);
        client.putRecord(record("live", "k").toBuilder().explicitHashKey("0").build()).get();
        client.splitShard(r -> r.streamName(STREAM).shardToSplit(first.shardId()).newStartingHashKey("100")).get();
        done("SplitShard");
        whole.get(60, TimeUnit.SECONDS);
        List<String> found = new ArrayList<>();
        events.forEach(event -> event.records().forEach(pushed -> found.add(pushed.data().asUtf8String())));
        SubscribeToShardEvent last = events.get(events.size() - 1);
        check(found.get(0).equals("héllo"), "the first record comes first");
        check(found.get(found.size() - 1).equals("live"), "what was put meanwhile came");
        check(last.childShards().size() == 2 && last.continuationSequenceNumber() == null, "the children are named");
        done("SubscribeToShard");
        client.deregisterStreamConsumer(r -> r.consumerARN(consumer.consumerARN())).get();
        done("DeregisterStreamConsumer");
    }

    private void end() {
        DeleteStreamRequest delete = DeleteStreamRequest.builder().streamName(STREAM).build();
        ask("DeleteStream", c -> c.deleteStream(delete), c -> c.deleteStream(delete));
    }
}
