// Original file: proto/dfdaemon/v2/dfdaemon.proto


export interface UnservedResponse {
}

export interface UnservedResponse__Output {
}
