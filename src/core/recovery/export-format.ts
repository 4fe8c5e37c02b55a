/** In which formats kept rows leave a recovery point, and which of its images. */
export const exportFormats = ['csv', 'parquet', 'copy'] as const;
export type ExportFormat = (typeof exportFormats)[number];

/** Fields of a kept table; what is wanted when nobody says which comes first. */
export const imageKinds = ['before', 'content', 'after'] as const;
export type ImageKind = (typeof imageKinds)[number];
