// Original file: proto/damselfly/v1/cache.proto


export interface ListCacheRequest {
}

export interface ListCacheRequest__Output {
}
