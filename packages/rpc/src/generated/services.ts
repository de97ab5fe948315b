// The services: what each method takes and returns.
import type {
  AnnounceHostRequest,
  AnnounceHostRequest__Output,
  AnnounceHostResponse,
  AnnounceHostResponse__Output,
  AnnouncePeerRequest,
  AnnouncePeerRequest__Output,
  AnnouncePeerResponse,
  AnnouncePeerResponse__Output,
  CollectGarbageRequest,
  CollectGarbageRequest__Output,
  CollectGarbageResponse,
  CollectGarbageResponse__Output,
  DeleteHostRequest,
  DeleteHostRequest__Output,
  DeleteLocalTaskRequest,
  DeleteLocalTaskRequest__Output,
  DeletePeerRequest,
  DeletePeerRequest__Output,
  DfdaemonDeleteTaskRequest,
  DfdaemonDeleteTaskRequest__Output,
  DfdaemonStatTaskRequest,
  DfdaemonStatTaskRequest__Output,
  DownloadPieceRequest,
  DownloadPieceRequest__Output,
  DownloadPieceResponse,
  DownloadPieceResponse__Output,
  DownloadTaskRequest,
  DownloadTaskRequest__Output,
  DownloadTaskResponse,
  DownloadTaskResponse__Output,
  Empty,
  Empty__Output,
  HealthCheckRequest,
  HealthCheckRequest__Output,
  HealthCheckResponse,
  HealthCheckResponse__Output,
  Host,
  Host__Output,
  ListCacheRequest,
  ListCacheRequest__Output,
  ListCacheResponse,
  ListCacheResponse__Output,
  ListHostsRequest,
  ListHostsRequest__Output,
  ListHostsResponse,
  ListHostsResponse__Output,
  ListLocalTasksRequest,
  ListLocalTasksRequest__Output,
  ListLocalTasksResponse,
  ListLocalTasksResponse__Output,
  ListSchedulersRequest,
  ListSchedulersRequest__Output,
  ListSchedulersResponse,
  ListSchedulersResponse__Output,
  ListTaskEntriesRequest,
  ListTaskEntriesRequest__Output,
  ListTaskEntriesResponse,
  ListTaskEntriesResponse__Output,
  Peer,
  Peer__Output,
  PinTasksRequest,
  PinTasksRequest__Output,
  PinTasksResponse,
  PinTasksResponse__Output,
  RemoveTasksRequest,
  RemoveTasksRequest__Output,
  RemoveTasksResponse,
  RemoveTasksResponse__Output,
  SchedulerDeleteTaskRequest,
  SchedulerDeleteTaskRequest__Output,
  SchedulerStatTaskRequest,
  SchedulerStatTaskRequest__Output,
  ServerReflectionRequest,
  ServerReflectionRequest__Output,
  ServerReflectionResponse,
  ServerReflectionResponse__Output,
  StatLocalTaskRequest,
  StatLocalTaskRequest__Output,
  StatLocalTaskResponse,
  StatLocalTaskResponse__Output,
  StatPeerRequest,
  StatPeerRequest__Output,
  SyncHostRequest,
  SyncHostRequest__Output,
  SyncPiecesRequest,
  SyncPiecesRequest__Output,
  SyncPiecesResponse,
  SyncPiecesResponse__Output,
  Task,
  Task__Output,
  UnservedRequest,
  UnservedRequest__Output,
  UnservedResponse,
  UnservedResponse__Output,
} from "./messages.ts";
import type { DuplexMethod, ServerStreamMethod, UnaryMethod } from "../method.ts";

/** damselfly.v1.Cache */
export interface CacheMethods {
  readonly listCache: UnaryMethod<ListCacheRequest, ListCacheRequest__Output, ListCacheResponse, ListCacheResponse__Output>;
  readonly pinTasks: UnaryMethod<PinTasksRequest, PinTasksRequest__Output, PinTasksResponse, PinTasksResponse__Output>;
  readonly removeTasks: UnaryMethod<RemoveTasksRequest, RemoveTasksRequest__Output, RemoveTasksResponse, RemoveTasksResponse__Output>;
  readonly collectGarbage: UnaryMethod<CollectGarbageRequest, CollectGarbageRequest__Output, CollectGarbageResponse, CollectGarbageResponse__Output>;
}

/** damselfly.v1.PieceTransfer */
export interface PieceTransferMethods {
  readonly downloadPiece: ServerStreamMethod<DownloadPieceRequest, DownloadPieceRequest__Output, DownloadPieceResponse, DownloadPieceResponse__Output>;
}

/** dfdaemon.v2.DfdaemonDownload */
export interface DfdaemonDownloadMethods {
  readonly downloadTask: ServerStreamMethod<DownloadTaskRequest, DownloadTaskRequest__Output, DownloadTaskResponse, DownloadTaskResponse__Output>;
  readonly statTask: UnaryMethod<DfdaemonStatTaskRequest, DfdaemonStatTaskRequest__Output, Task, Task__Output>;
  readonly statLocalTask: UnaryMethod<StatLocalTaskRequest, StatLocalTaskRequest__Output, StatLocalTaskResponse, StatLocalTaskResponse__Output>;
  readonly listLocalTasks: UnaryMethod<ListLocalTasksRequest, ListLocalTasksRequest__Output, ListLocalTasksResponse, ListLocalTasksResponse__Output>;
  readonly listTaskEntries: UnaryMethod<ListTaskEntriesRequest, ListTaskEntriesRequest__Output, ListTaskEntriesResponse, ListTaskEntriesResponse__Output>;
  readonly deleteTask: UnaryMethod<DfdaemonDeleteTaskRequest, DfdaemonDeleteTaskRequest__Output, Empty, Empty__Output>;
  readonly deleteLocalTask: UnaryMethod<DeleteLocalTaskRequest, DeleteLocalTaskRequest__Output, Empty, Empty__Output>;
  readonly deleteHost: UnaryMethod<Empty, Empty__Output, Empty, Empty__Output>;
  readonly downloadCacheTask: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly deleteCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly downloadPersistentTask: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly uploadPersistentTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statPersistentTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statLocalPersistentTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly listLocalPersistentTasks: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly downloadPersistentCacheTask: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly uploadPersistentCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statPersistentCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statLocalPersistentCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly listLocalPersistentCacheTasks: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
}

/** dfdaemon.v2.DfdaemonUpload */
export interface DfdaemonUploadMethods {
  readonly downloadTask: ServerStreamMethod<DownloadTaskRequest, DownloadTaskRequest__Output, DownloadTaskResponse, DownloadTaskResponse__Output>;
  readonly statTask: UnaryMethod<DfdaemonStatTaskRequest, DfdaemonStatTaskRequest__Output, Task, Task__Output>;
  readonly statLocalTask: UnaryMethod<StatLocalTaskRequest, StatLocalTaskRequest__Output, StatLocalTaskResponse, StatLocalTaskResponse__Output>;
  readonly listTaskEntries: UnaryMethod<ListTaskEntriesRequest, ListTaskEntriesRequest__Output, ListTaskEntriesResponse, ListTaskEntriesResponse__Output>;
  readonly deleteTask: UnaryMethod<DfdaemonDeleteTaskRequest, DfdaemonDeleteTaskRequest__Output, Empty, Empty__Output>;
  readonly syncPieces: ServerStreamMethod<SyncPiecesRequest, SyncPiecesRequest__Output, SyncPiecesResponse, SyncPiecesResponse__Output>;
  readonly syncHost: ServerStreamMethod<SyncHostRequest, SyncHostRequest__Output, Host, Host__Output>;
  readonly downloadCacheTask: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly deleteCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly syncCachePieces: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly downloadCachePiece: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly downloadPersistentTask: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly syncPersistentPieces: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly updatePersistentTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statPersistentTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly deletePersistentTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly downloadPersistentCacheTask: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly updatePersistentCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly statPersistentCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly deletePersistentCacheTask: UnaryMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
  readonly syncPersistentCachePieces: ServerStreamMethod<UnservedRequest, UnservedRequest__Output, UnservedResponse, UnservedResponse__Output>;
}

/** grpc.health.v1.Health */
export interface HealthMethods {
  readonly check: UnaryMethod<HealthCheckRequest, HealthCheckRequest__Output, HealthCheckResponse, HealthCheckResponse__Output>;
  readonly watch: ServerStreamMethod<HealthCheckRequest, HealthCheckRequest__Output, HealthCheckResponse, HealthCheckResponse__Output>;
}

/** grpc.reflection.v1.ServerReflection */
export interface ServerReflectionMethods {
  readonly serverReflectionInfo: DuplexMethod<ServerReflectionRequest, ServerReflectionRequest__Output, ServerReflectionResponse, ServerReflectionResponse__Output>;
}

/** manager.v2.Manager */
export interface ManagerMethods {
  readonly listSchedulers: UnaryMethod<ListSchedulersRequest, ListSchedulersRequest__Output, ListSchedulersResponse, ListSchedulersResponse__Output>;
}

/** scheduler.v2.Scheduler */
export interface SchedulerMethods {
  readonly announcePeer: DuplexMethod<AnnouncePeerRequest, AnnouncePeerRequest__Output, AnnouncePeerResponse, AnnouncePeerResponse__Output>;
  readonly statPeer: UnaryMethod<StatPeerRequest, StatPeerRequest__Output, Peer, Peer__Output>;
  readonly deletePeer: UnaryMethod<DeletePeerRequest, DeletePeerRequest__Output, Empty, Empty__Output>;
  readonly statTask: UnaryMethod<SchedulerStatTaskRequest, SchedulerStatTaskRequest__Output, Task, Task__Output>;
  readonly deleteTask: UnaryMethod<SchedulerDeleteTaskRequest, SchedulerDeleteTaskRequest__Output, Empty, Empty__Output>;
  readonly announceHost: UnaryMethod<AnnounceHostRequest, AnnounceHostRequest__Output, AnnounceHostResponse, AnnounceHostResponse__Output>;
  readonly listHosts: UnaryMethod<ListHostsRequest, ListHostsRequest__Output, ListHostsResponse, ListHostsResponse__Output>;
  readonly deleteHost: UnaryMethod<DeleteHostRequest, DeleteHostRequest__Output, Empty, Empty__Output>;
}
