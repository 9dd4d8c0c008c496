"""Every bound in raftq, by name. A number that limits something lives here or is configuration."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

# What a client may send.
REQUEST_BYTES_MAX: Final = 16 * MIB
"""One HTTP body or one native frame."""
REPLY_BYTES_MAX: Final = 32 * MIB
"""One native frame from a node: the largest lease reply with room to spare."""
FACTS_MAX: Final = 64
"""Facts in one error on the wire."""
PAYLOAD_BYTES_MAX: Final = 15 * MIB
RESULT_BYTES_MAX: Final = 1 * MIB
ERROR_TEXT_CHARACTERS_MAX: Final = 4_000
NAME_CHARACTERS_MAX: Final = 128
TASKS_PER_ENQUEUE_MAX: Final = 10_000
QUEUES_PER_LEASE_MAX: Final = 32
LEASES_PER_CALL_MAX: Final = 1_000
SETTLEMENTS_PER_CALL_MAX: Final = 10_000
"""Items in one batch of ack, fail, requeue or extend."""

PRIORITY_MAX: Final = 9
PRIORITY_DEFAULT: Final = 5
ATTEMPTS_MAX_LIMIT: Final = 1_000
ATTEMPTS_MAX_DEFAULT: Final = 5
DELAY_MS_MAX: Final = 3_660 * DAY_MS
LEASE_MS_MIN: Final = 100
LEASE_MS_MAX: Final = 12 * HOUR_MS
LEASE_MS_DEFAULT: Final = 30 * SECOND_MS
WAIT_MS_MAX: Final = 5 * MINUTE_MS
TIMEOUT_MS_MAX: Final = 10 * MINUTE_MS
TIMEOUT_MS_DEFAULT: Final = 10 * SECOND_MS
TOKEN_MAX: Final = 2**63 - 1
TOKENS_SKIPPED_BY_RESTORE: Final = 2**44
"""Fencing tokens that a restored cluster leaves out at least, so that it never grants one that the
old cluster granted after the backup. 300 restores, each of the one before, stay under 2^53, above
which JSON numbers lose digits in some languages."""

KEY_CHARACTERS_MAX: Final = 256
"""Of a unique, order, limit or fair key."""
PARENTS_MAX: Final = 1_000
"""Tasks that one task may depend on."""
CHILDREN_MAX: Final = 10_000
"""Unfinished tasks that may depend on one task."""
FOLLOW_UPS_MAX: Final = 1_000
"""Tasks that one acknowledgement may enqueue."""
BATCHES_MAX: Final = 1_000
"""Queues that one enqueue of several batches may name."""
PROGRESS_BYTES_MAX: Final = 4 * KIB
TASKS_PER_CONTROL_MAX: Final = 1_000
"""Ids in one cancel or confirm."""
TASKS_PER_SWEEP_MAX: Final = 1_000
"""Tasks that one sweep changes, or one page of a list shows; the next goes on behind."""
TASKS_LOOKED_AT_MAX: Final = 20_000
"""Tasks that one sweep or page looks at: it is done in one turn of the loop."""
PARKED_PER_COMMAND_MAX: Final = 1_000
"""Tasks that one command parks at their limit keys, or lets on from there."""
DUE_PER_ENTRY_MAX: Final = 5_000
"""Tasks that one log entry starts because their time has come; as many that it lets expire, and as
many that it forgets. The next entries go on."""
CHILDREN_PER_ENTRY_MAX: Final = 5_000
"""Children that one log entry tells that a parent is over; the next entries go on."""
TIES_PER_ENTRY_MAX: Final = 100_000
"""Parents that one log entry tells that a child is over; the next entries go on. One is a twentieth
of the work of telling a child."""
BACKOFF_MS_MAX: Final = 30 * DAY_MS
CRASHES_MAX_LIMIT: Final = 1_000
RESULT_TTL_MS_MAX: Final = 30 * DAY_MS
INSTANT_MS_MAX: Final = 2**53
CONFIRM_MS_MAX: Final = 7 * DAY_MS
WEIGHT_MAX: Final = 1_000
FAIR_WEIGHTS_MAX: Final = 10_000
"""Fair keys of one queue that have a weight of their own."""
RATE_MAX: Final = 1_000_000
RATE_PERIOD_MS_MAX: Final = 1 * DAY_MS
BURST_MAX: Final = 1_000_000
AGEING_MS_DEFAULT: Final = 1 * MINUTE_MS
"""A task is taken before those of the next higher priority that became ready so much later."""
AGEING_MS_MAX: Final = 365 * DAY_MS
LIMITS_MAX: Final = 10_000
"""Limit keys with a limit of their own."""
SCHEDULES_MAX: Final = 10_000
SCHEDULE_PAYLOAD_BYTES_MAX: Final = 64 * KIB
SCHEDULE_TEXT_CHARACTERS_MAX: Final = 256
JITTER_MS_MAX: Final = 1 * DAY_MS
MISSED_RUNS_MAX: Final = 1_000
"""Missed runs that a schedule with the policy `all` makes up for; older ones are skipped."""
EVENTS_KEPT_MAX: Final = 50_000
"""Newest events that a node keeps for subscribers who come back."""
SUBSCRIPTIONS_MAX: Final = 1_000
"""Subscriptions to events on one node."""
EVENTS_PER_BATCH_MAX: Final = 200
"""Events that one subscriber is told before others get their turn."""
EVENTS_UNSENT_BYTES_MAX: Final = 64 * KIB
"""Bytes on their way to a subscriber above which it is told no more until it has taken some."""
EVENT_MARK_MS: Final = 2 * SECOND_MS
"""How long a subscriber hears nothing at most: then it is told how far it is."""
EVENTS_STALL_MS: Final = 20 * SECOND_MS
"""How long a subscriber may take nothing of what it is told."""
FORGOTTEN_KEPT_MAX: Final = 50_000
"""Forgotten tasks that are told from tasks that never were; at least half as many."""

MEMBERS_MAX: Final = 7
"""Nodes in the cluster; each more makes every commit slower."""

# What the queue machine keeps.
QUEUES_MAX: Final = 100_000
"""Queues ever used; an enqueue that would make one more is refused. A queue is never forgotten."""
CRASHES_MAX: Final = 10
"""Leases of one task that may run out (the worker died) before the task is dead."""
ERRORS_KEPT_PER_TASK: Final = 10
RESULT_RETENTION_MS: Final = 1 * HOUR_MS
RESULTS_KEPT_MAX: Final = 100_000
"""Finished tasks that are remembered; the oldest is forgotten first."""
RETRY_MEMORY_MS: Final = 2 * TIMEOUT_MS_DEFAULT
"""Finished tasks are remembered at least so long, however many they are and however short their own
time is: a call that is repeated within its default deadline must find out that it was done."""
RESULT_BYTES_KEPT_MAX: Final = 256 * MIB
"""Results and recorded errors of finished tasks; the oldest is forgotten first."""
LEASE_REPLY_BYTES_MAX: Final = 8 * MIB
"""A lease call stops before its payloads pass this; the first task always fits."""
LEASE_REQUESTS_KEPT_PER_WORKER: Final = 64
"""Recent lease calls of one worker whose repetition returns the same leases."""
LEASE_REQUESTS_KEPT_MAX: Final = 200_000
LEASE_TOKENS_KEPT_MAX: Final = 1_000_000
"""The same over all workers, in calls and in granted leases: the workers silent for longest are
forgotten first."""
WORKER_FORGOTTEN_AFTER_MS: Final = 10 * MINUTE_MS
"""Lease time after which the lease requests of a silent worker are forgotten."""
LEASE_TIME_STEP_MAX_MS: Final = 60 * SECOND_MS
"""The most that one log entry may advance lease time."""

# What a leader lets in.
TASKS_LIVE_MAX: Final = 5_000_000
PAYLOAD_BYTES_LIVE_MAX: Final = 16_384 * MIB
"""Payload bytes of unfinished tasks in the whole cluster; each node needs up to four times as much
of its disk."""
RETRY_AFTER_MS: Final = 1_000
"""The advice given with `queue_full` and `disk_full`."""
WAITERS_MAX: Final = 20_000
"""Lease calls that may wait on one node at a time."""
DISK_RESERVE_BYTES: Final = 256 * MIB
"""Free space below which enqueues are refused, so that acks and compaction can go on."""
JOURNAL_RESERVE_BYTES: Final = 64 * MIB
"""Free space below which no snapshot is written: a node that cannot write its journal stops."""

# Log entries and their replication.
ENTRY_BYTES_TARGET: Final = 256 * KIB
"""A proposal stops taking further commands once it holds this many bytes: one entry is applied in
one turn of the loop."""
ENTRY_COMMANDS_MAX: Final = 2_000
ENTRIES_IN_FLIGHT_MAX: Final = 4
PROPOSALS_WAITING_MAX: Final = 50_000
PROPOSAL_BYTES_WAITING_MAX: Final = 64 * MIB
"""Bytes of commands waiting for a log entry before enqueues are refused; acks still pass."""
MESSAGE_BYTES_TARGET: Final = 1 * MIB
"""A message to a follower takes no more entries once it holds this many bytes."""
ENTRIES_PER_MESSAGE_MAX: Final = 1_000
"""Log entries in one message to a follower."""
APPLY_BYTES_PER_TURN: Final = 256 * KIB
"""Bytes of entries that are applied before others get their turn of the loop."""
LOG_CACHE_BYTES: Final = 8 * MIB
"""Newest log entries in memory; older ones are read from the disk."""
PAYLOAD_CACHE_BYTES: Final = 8 * MIB
"""Payloads in memory: of the newest tasks, and of what was read last."""
PAYLOAD_CHUNK_BYTES: Final = 64 * KIB
"""Payloads in one chunk of a snapshot, which is read as one."""
SNAPSHOT_BYTES_PER_TURN: Final = 4 * MIB
"""Snapshot bytes that are sent to one follower before others get their turn of the loop."""
SNAPSHOT_PART_BYTES: Final = 256 * KIB
"""Snapshot bytes in one message to a follower."""
BACKUP_PIECE_BYTES: Final = 256 * KIB
"""Bytes of a backup that a node reads and sends at a time."""
BACKUP_PIPE_BYTES: Final = 1 * MIB
"""Bytes of a backup that wait in the operating system to be read."""
BACKUP_TIMEOUT_MS: Final = 1 * HOUR_MS
"""How long one backup may take; while it runs, memory that changes is held twice."""
SNAPSHOT_AFTER_BYTES: Final = 64 * MIB
"""Log bytes since the last snapshot after which a new one is written."""
SNAPSHOT_AGAIN_AFTER_MS: Final = 5 * SECOND_MS
"""Pause after a snapshot that failed, of a full disk for example: each attempt costs a fork, and
much reading and writing."""
SNAPSHOT_AFTER_ENTRIES: Final = 50_000
"""Log entries since the last snapshot after which a new one is written."""
PEER_FRAME_BYTES_MAX: Final = 64 * MIB
PEER_BUFFER_BYTES_MAX: Final = 16 * MIB
"""Bytes waiting for one slow peer before replication to it pauses."""

# Clients' connections.
NATIVE_CALLS_IN_FLIGHT_MAX: Final = 10_000
"""Unanswered calls on one native connection; reading pauses at this number."""
CONNECTIONS_PER_ADDRESS_MAX: Final = 1_000
TOKENS_MAX: Final = 1_000
"""Tokens in the tokens file of a node."""
CERTIFICATE_WARNING_MS: Final = 14 * DAY_MS
"""Rest of a certificate's life in which a node warns that it will expire."""
HTTP_HEADER_BYTES_MAX: Final = 16 * KIB
HTTP_IDLE_TIMEOUT_MS: Final = 20 * SECOND_MS
"""From the end of one answer to the end of the next request's headers, however they drip."""
HTTP_BODY_TIMEOUT_MS: Final = 20 * SECOND_MS
"""For a whole body, however it drips."""
NATIVE_IDLE_TIMEOUT_MS: Final = 10 * MINUTE_MS
HELLO_BYTES_MAX: Final = 64 * KIB
"""What a client may send before its hello was accepted, calls sent along with it included."""
HELLO_TIMEOUT_MS: Final = 5 * SECOND_MS
