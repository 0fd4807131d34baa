"""Extensions of media files: which folders hold images, which hold sound."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


IMAGES = words(
    ".blp .bmp .dib .bufr .cur .pcx .dcx .dds .ps .eps .fit .fits .fli .flc .ftc .ftu .gbr .gif .grib "
    ".png .apng .jp2 .j2k .jpc .jpf .jpx .j2c .icns .ico .im .iim .tif .tiff .jfif .jpe .jpg .jpeg .msp "
    ".pcd .pxr .pbm .pgm .ppm .pnm .psd .bw .rgb .rgba .sgi .ras .tga .icb .vda .vst .webp .wmf .emf .xbm "
    ".xpm "
)
AUDIO = words(
    ".mpg .aiff .au .avr .caf .flac .htk .svx .mat4 .mat5 .mpc2k .ogg .paf .pvf .raw .rf64 .sd2 .sds "
    ".ircam .voc .w64 .wav .nist .wavex .wve .xi .mp3 .opus .3gp .3g2 .asf .flv .m4v .webm .f4v .wmv .wma "
    ".ogm .mxf .nut "
)
# Format → extensions, of formats that are known and not read.
NOT_READ = {
    "conll": ".conll .conllu",
    "eval": ".eval",
    "fasta": ".fa .fasta .fna .ffn .faa .frn .afa",
    "fastq": ".fq .fastq",
    "genbank": ".gb .gbk .genbank",
    "harbor": ".toml .md",
    "hdf5": ".hdf5 .h5",
    "lance": ".lance",
    "meshfolder": ".glb .gltf .ply .stl",
    "mmcif": ".cif .mmcif",
    "niftifolder": ".nii",
    "pdb": ".pdb .ent",
    "pdffolder": ".pdf",
    "tsfile": ".tsfile",
    "videofolder": ".mpeg .avi .mp4 .mov .mkv",
    "vortex": ".vortex",
}
