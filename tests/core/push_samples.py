"""What senders push, and the events of AWS's that it becomes, member by member."""

from typing import Any

__all__ = ["CEPH", "CLOUDEVENT", "MINIO", "S3_EVENT", "SEAWEEDFS", "SNS_EVENT", "SNS_NOTIFICATION", "SNS_SUBSCRIPTION"]

CEPH: dict[str, Any] = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "ceph:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-23T03:31:00.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "EXAMPLE"},
            "requestParameters": {"sourceIPAddress": "10.0.0.5"},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "abc"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "uploads",
                "bucket": {
                    "name": "uploads",
                    "ownerIdentity": {"principalId": "EXAMPLE"},
                    "arn": "arn:aws:s3:::uploads",
                },
                "object": {
                    "key": "in/Happy+Face.jpg",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
            "eventId": "1575221657.102001.80dad3aad8584778352c68ab06250327",
            "opaqueData": "me@example.com",
        }
    ]
}

CLOUDEVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "A234-1234-1234",
    "source": "/sensors/7",
    "type": "com.example.reading",
    "time": "2026-11-23T03:33:00Z",
    "datacontenttype": "application/json",
    "data": {"t": 21.5},
}

MINIO: dict[str, Any] = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "uploads/in/Happy Face.jpg",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-23T03:31:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "userIdentity": {"principalId": "EXAMPLE"},
            "requestParameters": {"sourceIPAddress": "10.0.0.5"},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "abc"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "uploads",
                "bucket": {
                    "name": "uploads",
                    "ownerIdentity": {"principalId": "EXAMPLE"},
                    "arn": "arn:aws:s3:::uploads",
                },
                "object": {
                    "key": "in/Happy+Face.jpg",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
            "source": {"host": "10.0.0.5", "port": "", "userAgent": "MinIO (linux; amd64)"},
        }
    ],
}

SEAWEEDFS: dict[str, Any] = {
    "key": "/buckets/uploads/in/a.jpg",
    "event_type": "create",
    "message_data": {
        "new_entry": {"name": "a.jpg", "attributes": {"file_size": 1024, "mtime": 1795404660}},
        "new_parent_path": "/buckets/uploads/in",
    },
}

SNS_NOTIFICATION: dict[str, Any] = {
    "Type": "Notification",
    "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
    "TopicArn": "arn:aws:sns:us-east-1:000000000000:topic",
    "Subject": "hello",
    "Message": "Hello from SNS!",
    "Timestamp": "2026-11-23T03:32:00.000Z",
    "SignatureVersion": "1",
    "Signature": "...",
    "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-x.pem",
    "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn",
    "MessageAttributes": {"Test": {"Type": "String", "Value": "TestString"}},
}

SNS_SUBSCRIPTION: dict[str, Any] = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "Token": "2336412f37...",
    "TopicArn": "arn:aws:sns:us-east-1:000000000000:topic",
    "Message": "You have chosen to subscribe to the topic ...",
    "SubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=...&Token=...",
    "Timestamp": "2026-11-23T03:32:00.000Z",
    "SignatureVersion": "1",
    "Signature": "...",
    "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-x.pem",
}

S3_EVENT: dict[str, Any] = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-23T03:31:00.000Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "EXAMPLE"},
            "requestParameters": {"sourceIPAddress": "10.0.0.5"},
            "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "abc"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "uploads",
                "bucket": {
                    "name": "uploads",
                    "ownerIdentity": {"principalId": "EXAMPLE"},
                    "arn": "arn:aws:s3:::uploads",
                },
                "object": {
                    "key": "in/Happy+Face.jpg",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
    ]
}

SNS_EVENT: dict[str, Any] = {
    "Records": [
        {
            "EventVersion": "1.0",
            "EventSubscriptionArn": "arn:aws:sns:us-east-1:000000000000:topic:21be56ed-a058-49f5-8c98-aedd2564c486",
            "EventSource": "aws:sns",
            "Sns": {
                "SignatureVersion": "1",
                "Timestamp": "2026-11-23T03:32:00.000Z",
                "Signature": "...",
                "SigningCertUrl": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-x.pem",
                "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
                "Message": "Hello from SNS!",
                "MessageAttributes": {"Test": {"Type": "String", "Value": "TestString"}},
                "Type": "Notification",
                "UnsubscribeUrl": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn",
                "TopicArn": "arn:aws:sns:us-east-1:000000000000:topic",
                "Subject": "hello",
            },
        }
    ]
}
